"""Candidates by nearness in the word table of the model that labels the new texts: for words that are one token."""

from __future__ import annotations

from .base import Reader
from .neighbours import Neighbours


class WordTable(Neighbours):
    """The tokens that are whole words, with their rows of the table."""

    name = "word-table"

    def __init__(self, reader: Reader) -> None:
        tokens = whole_words(reader)
        super().__init__(list(tokens), reader.words[list(tokens.values())].float().cpu().numpy())
        self.about = f"neighbours in the teacher's own word table ({len(tokens):,} words that are one token)"


def whole_words(reader: Reader) -> dict[str, int]:
    """The words of letters alone that the tokenizer reads as one token, with its id.

    That a token is a word, and no piece of one, shows when it is read again: behind a blank it is the same token.
    """
    tokenizer = reader.tokenizer
    special = set(tokenizer.all_special_ids)
    ids = [i for i in sorted(tokenizer.get_vocab().values()) if i < len(reader.words) and i not in special]
    texts = [tokenizer.convert_tokens_to_string([token]).strip() for token in tokenizer.convert_ids_to_tokens(ids)]
    words = [(text, i) for text, i in zip(texts, ids, strict=True) if text.isalpha()]
    if not words:
        return {}
    read = tokenizer([f" {text}" for text, _ in words], add_special_tokens=False, return_attention_mask=False)
    return {text: i for (text, i), tokens in zip(words, read["input_ids"], strict=True) if tokens == [i]}
