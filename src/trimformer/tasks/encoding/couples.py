"""Couples of texts that a model reads one by one: the two rows of a couple follow one another, and stay together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Examples
from ..limits import Truncation
from . import texts
from .tokenizers import AnyTokenizer

if TYPE_CHECKING:
    from torch import Tensor


def tokenise(
    examples: Examples, tokenizer: AnyTokenizer, max_length: int, truncation: Truncation
) -> dict[str, np.ndarray]:
    """As texts are tokenised, with a row for each text of a couple, and 'owners' int64 (rows,), a row's example."""
    if examples.pairs is None:
        return texts.tokenise(examples, tokenizer, max_length, truncation)
    flat = [text for couple in zip(examples.texts, examples.pairs, strict=True) for text in couple]
    arrays = texts.tokenise(Examples(flat, None, []), tokenizer, max_length, truncation)
    return arrays | {"owners": np.repeat(np.arange(len(examples)), 2)}


@dataclasses.dataclass(frozen=True)
class Couples:
    """A split whose unit is a couple, for who draws rows from it. data: `Encoded`, or as two tokenizers read it."""

    data: Any

    def __len__(self) -> int:
        return len(self.data) // 2

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of the longer text of each couple, int64 (n,)."""
        longer: np.ndarray = self.data.lengths.reshape(-1, 2).max(axis=1)
        return longer

    def of_epoch(self, seed: int, epoch: int) -> Couples:
        """The couples as they are read in a pass over them."""
        return Couples(self.data.of_epoch(seed, epoch))

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The rows of these couples, the two of each side by side."""
        batch: dict[str, Tensor] = self.data.batch([row for index in indices for row in (2 * index, 2 * index + 1)])
        return batch


def whole(data: Any) -> Any:
    """The split with the units that must not be torn apart: its couples, where it has any, else its rows."""
    return Couples(data) if data.couples else data
