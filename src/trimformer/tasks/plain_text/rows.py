"""Rows of plain text, masked anew in each pass over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from ..data import Examples
from ..encoding.encoded import Encoded
from .masking import Masking
from .pairs import Pairing, partners
from .store import Stored

FIXED = (0, 0)
"""The seed and the pass whose masks held-out rows have, in every run."""


class Row(NamedTuple):
    """ids, types: the tokens of a row as they are read, and their segments, if it has some. places: those that are
    masked; truth: the tokens that stood there."""

    ids: np.ndarray
    types: np.ndarray | None
    places: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, kw_only=True)
class MaskedRows(Encoded):
    """Some rows of stored texts: row i is ``numbers[i]`` among all, ``ids[begins[i] : ends[i]]``, both int64 (n, 1).

    pairing: how two stored rows become one; begins and ends are those of both, (n, 2). None: rows have one text.
    ``offsets`` are those that the rows would have end to end.

    The masks follow from ``drawn``, the seed and the number of a pass, and from the row alone, whatever batch it is in.
    held: the rows have the same masks in all passes; then ``labels`` are the tokens that stood in the masked places,
    row by row, and ``counts`` how many each row has.
    """

    numbers: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    masking: Masking
    held: bool
    pairing: Pairing | None = None
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

    def read(self, index: int) -> Row:
        """A row as it is read."""
        parts = [np.array(self.ids[begin:end]) for begin, end in zip(self.begins[index], self.ends[index], strict=True)]
        row, types = (parts[0], None) if self.pairing is None else self.pairing.joined(*parts)
        rng = np.random.default_rng([*self.drawn, int(self.numbers[index])])
        places = self.masking.places(row, rng)
        return Row(self.masking.masked(row, places, rng), types, places, row[places])

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Rows padded on the right to the longest of them.

        input_ids, attention_mask and, of pairs in segments, token_type_ids: int64 (batch, longest). asked: bool (batch,
        longest), true in masked places; labels: int64 (places,), the tokens that stood there, row by row.
        """
        rows = [self.read(index) for index in indices]
        shape = (len(rows), max(len(row.ids) for row in rows))
        ids, asked = torch.full(shape, self.pad_id), torch.zeros(shape, dtype=torch.bool)
        real, types = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row.ids)] = torch.from_numpy(row.ids)
            asked[at, torch.from_numpy(row.places)] = True
            real[at, : len(row.ids)] = 1
            if row.types is not None:
                types[at, : len(row.ids)] = torch.from_numpy(row.types)
        labels = torch.from_numpy(np.concatenate([row.truth for row in rows]).astype(np.int64))
        batch = {"input_ids": ids, "attention_mask": real, "labels": labels, "asked": asked}
        return batch if rows[0].types is None else batch | {"token_type_ids": types}


def masked_rows(
    stored: Stored,
    numbers: np.ndarray,
    masking: Masking,
    pad_id: int,
    max_length: int,
    *,
    held: bool,
    pairing: Pairing | None = None,
) -> MaskedRows:
    """Those of the stored rows that have these numbers, in order; each with another one of them where there is a
    pairing. held: they keep the same masks."""
    both = numbers[:, None] if pairing is None else np.stack([numbers, partners(numbers, stored.begun)], axis=1)
    begins, ends = np.where(both > 0, stored.ends[both - 1], 0), np.asarray(stored.ends[both])
    sizes = (ends - begins).T
    lengths = sizes[0] if pairing is None else pairing.lengths(*sizes)
    made = MaskedRows(
        ids=stored.ids,
        types=None,
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
        labels=np.zeros(0, dtype=np.int64),
        truncated=0,
        pad_id=pad_id,
        kind="masked-lm",
        examples=Examples(range(len(numbers)), None, []),  # type: ignore[arg-type]  # rows without a text of their own
        max_length=max_length,
        numbers=numbers,
        begins=begins,
        ends=ends,
        masking=masking,
        held=held,
        pairing=pairing,
    )
    if not held:
        return made
    truth = [made.read(index).truth for index in range(len(made))]
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *truth])
    return replace(made, labels=labels, counts=np.array([len(one) for one in truth], dtype=np.int64))
