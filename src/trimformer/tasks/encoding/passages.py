"""The two texts of a pair as tokens of their own, so that a passage is the same whatever the question is.

A row is ``[CLS] question [SEP] passage [SEP]``: the question has [CLS] and the first [SEP], the passage the last one.
The room that a row leaves to a passage is that beside the longest question, not beside the one that is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import TrimformerError
from ..cuts import Cuts
from .texts import kept
from .tokenizers import AnyTokenizer, read_texts
from .windows import QUESTION, Template, cut, template_of, tokens_of


class Questions(NamedTuple):
    """Question i is ``ids[offsets[i]:offsets[i + 1]]``, int32; truncated: how many were cut."""

    ids: np.ndarray
    offsets: np.ndarray
    truncated: int


class Passages(NamedTuple):
    """Windows of passages: window i is ``ids[offsets[i]:offsets[i + 1]]``, int32.

    chars: int32 (tokens, 2), first character and end of a token in its passage, -1 for special tokens. starts: int64
    (passages + 1,), the first window of each passage. truncated: how many passages were cut, which windows are not.
    """

    ids: np.ndarray
    chars: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    truncated: int


def require_segments(tokenizer: AnyTokenizer) -> None:
    """Raise TrimformerError where a tokenizer does not give the texts of a pair the segments 0 and 1."""
    types = read_texts(tokenizer, ["a"], ["a"])[0].types or []
    if types != sorted(types) or set(types) != {0, 1}:
        raise TrimformerError(
            "The tokenizer does not say by segments 0 and 1 which tokens are the first and which the second text's "
            "(token_type_ids), so that the two cannot be told apart: take a model whose tokenizer does, such as BERT's."
        )


def longest_question(cuts: Cuts) -> int:
    """Tokens of a question that are read, special tokens not counted."""
    return min(QUESTION, cuts.max_length // 2)


def read_questions(texts: Sequence[str], tokenizer: AnyTokenizer, cuts: Cuts) -> Questions:
    """The first texts of pairs, with the special tokens that belong to them."""
    template, found, limit = template_of(tokenizer), tokens_of(texts, tokenizer), longest_question(cuts)
    rows = [
        np.concatenate([template.before, found.ids[start : min(end, start + limit)], template.between])
        for start, end in zip(found.offsets[:-1], found.offsets[1:], strict=True)
    ]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Questions(np.concatenate(rows), offsets, int((np.diff(found.offsets) > limit).sum()))


def read_passages(texts: Sequence[str], tokenizer: AnyTokenizer, cuts: Cuts, *, windows: bool) -> Passages:
    """The second texts of pairs, with the special token that belongs to them.

    windows: whether a long one is cut into windows that overlap by the stride; else a part of it is left out, as the
    cuts say. Raises TrimformerError where a question leaves no room.
    """
    template, found = template_of(tokenizer), tokens_of(texts, tokenizer)
    lengths, room = np.diff(found.offsets), _room(template, cuts)
    if windows:
        owners, begins, ends = cut(lengths, np.full(len(lengths), room), cuts.stride)
        places = [
            np.arange(found.offsets[owner] + begin, found.offsets[owner] + end)
            for owner, begin, end in zip(owners, begins, ends, strict=True)
        ]
    else:
        owners = np.arange(len(lengths))
        places = [
            start + np.flatnonzero(kept(np.zeros(n), room, cuts.truncation)) if n > room else start + np.arange(n)
            for start, n in zip(found.offsets[:-1], lengths, strict=True)
        ]
    outside = np.full((len(template.after), 2), -1, dtype=np.int32)
    ids = [np.concatenate([found.ids[place], template.after]) for place in places]
    return Passages(
        np.concatenate(ids),
        np.concatenate([part for place in places for part in (found.chars[place], outside)]),
        np.cumsum([0, *map(len, ids)], dtype=np.int64),
        np.searchsorted(owners, np.arange(len(lengths) + 1)),
        0 if windows else int((lengths > room).sum()),
    )


def _room(template: Template, cuts: Cuts) -> int:
    room = cuts.max_length - template.size - longest_question(cuts)
    if room < 1:
        raise TrimformerError(
            f"Rows of {cuts.max_length} tokens leave no room for a passage beside a question: take a model that reads "
            "longer ones."
        )
    return room
