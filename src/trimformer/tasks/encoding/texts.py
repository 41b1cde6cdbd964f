"""Tokenise texts and pairs of texts, keeping the chosen part of those that are too long."""

from __future__ import annotations

from operator import add

import numpy as np

from ..data import Examples
from ..limits import Truncation
from .chunks import chunks
from .tokenizers import AnyTokenizer, read_texts


def tokenise(
    examples: Examples, tokenizer: AnyTokenizer, max_length: int, truncation: Truncation
) -> dict[str, np.ndarray]:
    """Rows laid end to end: 'ids' int32 (tokens,), 'offsets' int64 (n + 1,), 'truncated' int64 (), the rows that were
    cut, and, if the tokenizer makes them, 'types' uint8 (tokens,).

    A row that is too long keeps all its special tokens. The longer text of a pair is cut first. A text keeps its
    head, its tail, or a quarter from the head and the rest from the tail (Sun et al., 2019, section 5.3.1: 128
    and 382 of 510 tokens).
    """
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    truncated = 0
    sizes = map(len, examples.texts)
    if examples.pairs is not None:
        sizes = map(add, sizes, map(len, examples.pairs))
    for rows in chunks(sizes):
        part = examples.take(range(len(examples))[rows])
        for row in read_texts(tokenizer, part.texts, part.pairs):
            stays: slice | np.ndarray = slice(None)
            if len(row.ids) > max_length:
                stays = kept(row.sequences(), max_length, truncation)
                truncated += 1
            ids.append(np.asarray(row.ids, dtype=np.int32)[stays])
            if row.types is not None:
                types.append(np.asarray(row.types, dtype=np.uint8)[stays])
    arrays = {
        "ids": np.concatenate(ids),
        "offsets": np.cumsum([0, *map(len, ids)], dtype=np.int64),
        "truncated": np.asarray(truncated),
    }
    if types:
        arrays["types"] = np.concatenate(types)
    return arrays


def kept(sequences: np.ndarray, max_length: int, truncation: Truncation) -> np.ndarray:
    """Which tokens of a row stay: bool (tokens,) with `max_length` of them true.

    sequences: for each token the text it belongs to, 0 or 1, or -1 for a special token, which always stays.
    """
    keep = sequences < 0
    room = max_length - int(keep.sum())
    shorter, longer = sorted((np.flatnonzero(sequences == text) for text in (0, 1)), key=len)
    few = min(len(shorter), room // 2)
    for places, count in ((shorter, few), (longer, room - few)):
        head = {"head": count, "tail": 0, "both": (count + 2) // 4}[truncation]
        keep[places[:head]] = True
        keep[places[len(places) - (count - head) :]] = True
    return keep
