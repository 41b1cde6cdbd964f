from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast


class Words(PreTrainedTokenizer):
    """A tokenizer in plain Python, in the manner of BERT: words w0, w1, …"""

    vocab_files_names: ClassVar = {"vocab_file": "vocab.txt"}
    model_input_names: ClassVar = ["input_ids", "token_type_ids", "attention_mask"]

    def __init__(self, words: list[str], lower: bool = False, **options: Any) -> None:
        self.words, self.lower = words, lower
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        super().__init__(special_tokens_pattern="cls_sep", lower=lower, **special, **options)

    @property
    def vocab_size(self) -> int:
        return len(self.words)

    def get_vocab(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return (text.lower() if self.lower else text).split()

    def _convert_token_to_id(self, token: str) -> int:
        return self.words.index(token) if token in self.words else 1

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        path = Path(save_directory) / "vocab.txt"
        path.write_text("\n".join(self.words))
        return (str(path),)


@pytest.fixture
def slow(tokenizer: PreTrainedTokenizerFast) -> Words:
    """With the words and ids of the fast one."""
    return Words(sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__))


@pytest.fixture
def roberta() -> PreTrainedTokenizerFast:
    """<s> A </s></s> B </s>, and no token types."""
    words = ["<pad>", "<unk>", "<s>", "</s>", *(f"w{i}" for i in range(20))]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 3), ("<s>", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", model_input_names=["input_ids", "attention_mask"]
    )
