"""Sentences of words as word pieces, and the labels of words at their first pieces.

A word is labelled, and predicted, at its first piece (Devlin et al. 2019, section 5.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ...saved.kinds import IGNORED
from ..data import Examples
from ..limits import Truncation
from .chunks import chunks
from .texts import kept
from .tokenizers import AnyTokenizer, fast_form, makes_types


class _Row(NamedTuple):
    """One whole sentence: ids; types if the tokenizer makes them; the word of each token, None for a special token."""

    ids: list[int]
    types: list[int] | None
    words: Sequence[int | None]


def tokenise(
    examples: Examples, tokenizer: AnyTokenizer, max_length: int, truncation: Truncation = "head"
) -> dict[str, np.ndarray]:
    """Word pieces of every sentence, laid end to end, cut to `max_length` tokens as texts are.

    ids int32 (tokens,); types uint8 (tokens,) if the tokenizer makes them; offsets int64 (n + 1,); words int32
    (tokens,): the index of the word that begins at this token, -1 elsewhere; truncated: sentences that lost words. A
    word without any piece (control characters only), or whose first piece was cut off, begins nowhere.
    """
    rows_of = _slow_rows if fast_form(tokenizer) is None else _fast_rows
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    words: list[np.ndarray] = []
    truncated = 0
    for part in chunks(sum(map(len, sentence)) for sentence in examples.texts):
        for row in rows_of(examples.texts[part], tokenizer):
            stays: slice | np.ndarray = slice(None)
            if len(row.ids) > max_length:
                stays = kept(np.array([-1 if word is None else 0 for word in row.words]), max_length, truncation)
            ids.append(np.asarray(row.ids, dtype=np.int32)[stays])
            if row.types is not None:
                types.append(np.asarray(row.types, dtype=np.uint8)[stays])
            begins = [-1 if word is None or word == before else word for before, word in pairwise([None, *row.words])]
            words.append(np.asarray(begins, dtype=np.int32)[stays])
            truncated += int((words[-1] >= 0).sum()) < sum(word >= 0 for word in begins)
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
    """The label of each token: int64 (tokens,), that of the word that begins there, elsewhere and without one -100."""
    rows = zip(examples.texts, examples.labels, strict=True)
    labels = [[IGNORED] * len(sentence) if row is None else row for sentence, row in rows]
    flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in labels])
    starts = np.cumsum([0, *map(len, labels)])[:-1]
    word_at = np.repeat(starts, np.diff(offsets)) + words
    return np.where(words >= 0, flat[word_at], IGNORED)


def _fast_rows(sentences: Sequence[tuple[str, ...]], tokenizer: AnyTokenizer) -> list[_Row]:
    # Byte-level tokenizers tell the first piece of a word by the space before it, and these words have none.
    fast, typed = fast_form(tokenizer), makes_types(tokenizer)
    space = " " if _is_byte_level(fast) else ""
    texts = [[space + word for word in sentence] for sentence in sentences]
    coded = fast.encode_batch(texts, is_pretokenized=True)
    return [_Row(one.ids, one.type_ids if typed else None, one.word_ids) for one in coded]


def _slow_rows(sentences: Sequence[tuple[str, ...]], tokenizer: Any) -> list[_Row]:
    """Word by word, for tokenizers that are written in Python and know nothing of words."""
    rows = []
    for sentence in sentences:
        pieces = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)) for word in sentence]
        flat = [piece for ids in pieces for piece in ids]
        owners = [word for word, ids in enumerate(pieces) for _ in ids]
        # The tokenizer puts its special tokens around marks, -1 for the first piece, -2 for the second and so on.
        built = tokenizer.build_inputs_with_special_tokens(list(range(-1, -1 - len(flat), -1)))
        ids = [flat[-1 - mark] if mark < 0 else mark for mark in built]
        words = [owners[-1 - mark] if mark < 0 else None for mark in built]
        types = None
        if makes_types(tokenizer):
            types = tokenizer.create_token_type_ids_from_sequences(flat)
        rows.append(_Row(ids, types, words))
    return rows


def _is_byte_level(fast: Any) -> bool:
    pre_tokenizer = fast.pre_tokenizer
    return pre_tokenizer is not None and b'"ByteLevel"' in pre_tokenizer.__getstate__()
