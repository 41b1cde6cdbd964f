"""Some units of a split, for who draws batches from them alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Part:
    """The units of a split that ``indices``, int64 (n,), names. data: as :func:`couples.whole` gives it."""

    data: Any
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each unit, int64 (n,)."""
        found: np.ndarray = self.data.lengths[self.indices]
        return found

    def of_epoch(self, seed: int, epoch: int) -> Part:
        """The units as they are read in a pass over them."""
        return Part(self.data.of_epoch(seed, epoch), self.indices)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The rows of these units of the part."""
        batch: dict[str, Tensor] = self.data.batch(self.indices[list(indices)].tolist())
        return batch
