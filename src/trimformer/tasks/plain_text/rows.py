"""Rows of plain text, masked anew in each pass over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..data import Examples
from ..encoding.encoded import Encoded
from .masking import Masking
from .store import Stored

FIXED = (0, 0)
"""The seed and the pass whose masks held-out rows have, in every run."""


@dataclass(frozen=True, kw_only=True)
class MaskedRows(Encoded):
    """Some rows of stored texts: row i is ``ids[begins[i] : begins[i] + lengths[i]]``, and ``numbers[i]`` among all.

    ``offsets`` are those that the rows would have end to end.

    The masks follow from ``drawn``, the seed and the number of a pass, and from the row alone, whatever batch it is in.
    held: the rows have the same masks in all passes; then ``labels`` are the tokens that stood in the masked places,
    row by row, and ``counts`` how many each row has.
    """

    numbers: np.ndarray
    begins: np.ndarray
    masking: Masking
    held: bool
    drawn: tuple[int, int] = FIXED
    counts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def places(self) -> np.ndarray:
        assert self.counts is not None, "they are counted in held-out rows alone"
        return self.counts

    def of_epoch(self, seed: int, epoch: int) -> MaskedRows:
        return self if self.held else replace(self, drawn=(seed, epoch))

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of a row as they are read, the places that are masked and the tokens that stood there."""
        begin, length = self.begins[index], self.offsets[index + 1] - self.offsets[index]
        row = np.array(self.ids[begin : begin + length])
        rng = np.random.default_rng([*self.drawn, int(self.numbers[index])])
        places = self.masking.places(row, rng)
        return self.masking.masked(row, places, rng), places, row[places]

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Rows padded on the right to the longest of them.

        input_ids, attention_mask: int64 (batch, longest). asked: bool (batch, longest), true in masked places; labels:
        int64 (places,), the tokens that stood there, row by row.
        """
        rows = [self.read(index) for index in indices]
        shape = (len(rows), max(len(row) for row, _, _ in rows))
        ids, asked = torch.full(shape, self.pad_id), torch.zeros(shape, dtype=torch.bool)
        real = torch.zeros(shape, dtype=torch.int64)
        for at, (row, places, _) in enumerate(rows):
            ids[at, : len(row)] = torch.from_numpy(row)
            asked[at, torch.from_numpy(places)] = True
            real[at, : len(row)] = 1
        labels = torch.from_numpy(np.concatenate([truth for _, _, truth in rows]).astype(np.int64))
        return {"input_ids": ids, "attention_mask": real, "labels": labels, "asked": asked}


def masked_rows(
    stored: Stored, numbers: np.ndarray, masking: Masking, pad_id: int, max_length: int, *, held: bool
) -> MaskedRows:
    """Those of the stored rows that have these numbers. held: they keep the same masks."""
    begins = np.where(numbers > 0, stored.ends[numbers - 1], 0)
    made = MaskedRows(
        ids=stored.ids,
        types=None,
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(stored.ends[numbers] - begins)]),
        labels=np.zeros(0, dtype=np.int64),
        truncated=0,
        pad_id=pad_id,
        kind="masked-lm",
        examples=Examples(range(len(numbers)), None, []),  # type: ignore[arg-type]  # rows without a text of their own
        max_length=max_length,
        numbers=numbers,
        begins=begins,
        masking=masking,
        held=held,
    )
    if not held:
        return made
    truth = [made.read(index)[2] for index in range(len(made))]
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *truth])
    return replace(made, labels=labels, counts=np.array([len(one) for one in truth], dtype=np.int64))
