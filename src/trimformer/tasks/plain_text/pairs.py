"""Two texts in a row, half of the time two that follow one another (BERT: Devlin et al., 2019, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from .template import TEXTS, template

FOLLOWING = 0.5
"""The probability with which the second text is the one that follows the first."""


@dataclass(frozen=True)
class Pairing:
    """How two stored rows become one.

    ids: the tokens of a row, with ``TEXTS`` in the places of the two texts. types: the segment of each; None: there are
    none. alone: how many tokens a stored row has before its text and behind it.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...] | None
    alone: tuple[int, int]

    def room(self, max_length: int) -> int:
        """How long stored rows may be that two of them fit into a row."""
        return (max_length - len(self.ids) + len(TEXTS)) // 2 + sum(self.alone)

    def lengths(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The tokens of rows of two stored rows that have so many."""
        found: np.ndarray = first + second - 2 * sum(self.alone) + len(self.ids) - len(TEXTS)
        return found

    def joined(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """A row of two stored rows, and its segments."""
        before, after = self.alone
        texts = {name: row[before : len(row) - after] for name, row in zip(TEXTS, (first, second), strict=True)}
        parts = [texts.get(token, np.array([token], dtype=first.dtype)) for token in self.ids]
        types = None if self.types is None else np.repeat(self.types, [len(part) for part in parts])
        return np.concatenate(parts), types


def pairing_of(tokenizer: PreTrainedTokenizerBase) -> Pairing:
    """How this tokenizer puts two texts together."""
    single, _ = template(tokenizer, 1)
    ids, types = template(tokenizer, 2)
    at = single.index(TEXTS[0])
    return Pairing(tuple(ids), None if types is None else tuple(types), (at, len(single) - at - 1))


def partners(numbers: np.ndarray) -> np.ndarray:
    """Of rows with these numbers, in order, the number of the second text of each: the next one, if that is among
    them, or any. They are the same in every run."""
    rng = np.random.default_rng(0)
    follow = np.isin(numbers + 1, numbers) & (rng.random(len(numbers)) < FOLLOWING)
    return np.where(follow, numbers + 1, rng.choice(numbers, len(numbers)))
