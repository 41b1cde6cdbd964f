"""Sentences of words as word pieces, and the labels of words at their first pieces.

A word is labelled, and predicted, at its first piece (Devlin et al. 2019, section 5.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from ...encoder.model.heads import IGNORED
from ..data import Examples
from .chunks import chunks


class _Row(NamedTuple):
    """One sentence: ids; types if the tokenizer makes them; the word of each token; whether words were lost."""

    ids: list[int]
    types: list[int] | None
    words: Sequence[int | None]
    cut: bool


def tokenise(examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, np.ndarray]:
    """Word pieces of every sentence, laid end to end, cut on the right to `max_length` tokens.

    ids int32 (tokens,); types uint8 (tokens,) if the tokenizer makes them; offsets int64 (n + 1,); words int32
    (tokens,): the index of the word that begins at this token, -1 elsewhere; truncated: sentences that lost words. A
    word without any piece (control characters only) begins nowhere.
    """
    rows_of = _fast_rows if getattr(tokenizer, "backend_tokenizer", None) is not None else _slow_rows
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    words: list[np.ndarray] = []
    truncated = 0
    for part in chunks(sum(map(len, sentence)) for sentence in examples.texts):
        for row in rows_of(examples.texts[part], tokenizer, max_length):
            ids.append(np.asarray(row.ids, dtype=np.int32))
            if row.types is not None:
                types.append(np.asarray(row.types, dtype=np.uint8))
            begins = [-1 if word is None or word == before else word for before, word in pairwise([None, *row.words])]
            words.append(np.asarray(begins, dtype=np.int32))
            truncated += row.cut
    arrays = {
        "ids": np.concatenate(ids),
        "offsets": np.cumsum([0, *map(len, ids)], dtype=np.int64),
        "words": np.concatenate(words),
        "truncated": np.asarray(truncated),
    }
    if types:
        arrays["types"] = np.concatenate(types)
    return arrays


def labels_of(words: np.ndarray, offsets: np.ndarray, examples: Examples) -> np.ndarray:
    """The label of each token: int64 (tokens,), that of the word that begins there, elsewhere -100."""
    flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in examples.labels])
    starts = np.cumsum([0, *map(len, examples.labels)])[:-1]
    word_at = np.repeat(starts, np.diff(offsets)) + words
    return np.where(words >= 0, flat[word_at], IGNORED)


def _fast_rows(sentences: Sequence[tuple[str, ...]], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[_Row]:
    # Byte-level tokenizers tell the first piece of a word by the space before it, and these words have none.
    space = " " if _is_byte_level(tokenizer) else ""
    side, tokenizer.truncation_side = tokenizer.truncation_side, "right"
    try:
        texts = [[space + word for word in sentence] for sentence in sentences]
        coded = tokenizer(texts, is_split_into_words=True, truncation=True, max_length=max_length)
    finally:
        tokenizer.truncation_side = side
    types = coded.get("token_type_ids") or [None] * len(sentences)
    rows = []
    for encoding, row_types in zip(coded.encodings or [], types, strict=True):
        lost = {word for part in encoding.overflowing for word in part.word_ids} - set(encoding.word_ids)
        rows.append(_Row(encoding.ids, row_types, encoding.word_ids, bool(lost)))
    return rows


def _slow_rows(sentences: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int) -> list[_Row]:
    """Word by word, for tokenizers that are written in Python and know nothing of words."""
    room = max_length - tokenizer.num_special_tokens_to_add()
    rows = []
    for sentence in sentences:
        pieces = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)) for word in sentence]
        flat = [piece for ids in pieces for piece in ids]
        owners = [word for word, ids in enumerate(pieces) for _ in ids]
        # The tokenizer puts its special tokens around marks, -1 for the first piece, -2 for the second and so on.
        marks = range(-1, -1 - min(len(owners), room), -1)
        built = tokenizer.build_inputs_with_special_tokens(list(marks))
        ids = [flat[-1 - mark] if mark < 0 else mark for mark in built]
        words = [owners[-1 - mark] if mark < 0 else None for mark in built]
        types = None
        if "token_type_ids" in tokenizer.model_input_names:
            types = tokenizer.create_token_type_ids_from_sequences(flat[:room])
        lost = set(owners[room:]) - set(owners[:room])
        rows.append(_Row(ids, types, words, bool(lost)))
    return rows


def _is_byte_level(tokenizer: Any) -> bool:
    pre_tokenizer = tokenizer.backend_tokenizer.pre_tokenizer
    return pre_tokenizer is not None and b'"ByteLevel"' in pre_tokenizer.__getstate__()
