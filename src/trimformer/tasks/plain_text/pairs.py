"""Two texts in a row, half of the time two that follow one another (BERT: Devlin et al., 2019, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from ...errors import TrimformerError
from .template import TEXTS, template

FOLLOWING = 0.5
"""The share of the rows whose second text is the one that follows the first."""
RUN = 8
"""Rows of two texts are divided into parts by runs of so many stored rows: most texts have the one that follows them in
their own part, and a small part still has texts from many places."""


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


def together(numbers: np.ndarray, run: int) -> np.ndarray:
    """These numbers with those of each run of so many rows one after another, runs as their first ones came."""
    _, came, of = np.unique(numbers // run, return_index=True, return_inverse=True)
    return numbers[np.lexsort((numbers, came[of]))]


def partners(numbers: np.ndarray, begun: np.ndarray) -> np.ndarray:
    """Of rows with these numbers, in order, the number of the second text of each: for half of them the next one, as
    far as so many have one among them and in the same file, else any other. They are the same in every run.

    begun: the numbers of the rows with which files begin. Raises TrimformerError where there is no other row.
    """
    count = len(numbers)
    if count < 2:
        raise TrimformerError(
            "A row of two texts needs another text of the same part of the data, and a part has one alone: add texts, "
            "or leave task.pairs out."
        )
    rng = np.random.default_rng(0)
    second = numbers[(np.arange(count) + rng.integers(1, count, count)) % count]
    followed = np.flatnonzero(np.isin(numbers + 1, numbers) & ~np.isin(numbers + 1, begun))
    follow = rng.permutation(followed)[: round(FOLLOWING * count)]
    second[follow] = numbers[follow] + 1
    return second
