"""What is worked off while the clock runs: random ids of one length, or texts with their own lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...deploy.onnx import random_inputs
from ...encoder import TrimformerConfig
from ...inference.batches import inputs
from ...tasks.encoding.encoded import Encoded

SAMPLE = 256
"""Sequences that stand for a file of texts."""

Lengths = Literal["fixed", "padded", "bucketed"]


@dataclasses.dataclass(frozen=True)
class Workload:
    """Batches that every variant works off.

    batch: sequences in a batch. lengths: ``fixed``: random ids, all of one length; ``padded``: texts in the order of
    their file, padded to the longest of the batch; ``bucketed``: the same texts sorted by length first.
    batches: the model's inputs, int64 (batch, n). tokens: of each sequence, without padding.
    """

    batch: int
    lengths: Lengths
    batches: tuple[dict[str, Tensor], ...]
    tokens: np.ndarray

    @property
    def length(self) -> int:
        """Tokens of a sequence; the rounded mean where they differ."""
        return round(float(self.tokens.mean()))

    @property
    def positions(self) -> int:
        """Tokens of all batches, padding included: what is computed."""
        return sum(given["input_ids"].numel() for given in self.batches)

    def fewer(self, batches: int) -> Workload:
        """At most so many of the batches, evenly spread."""
        if batches >= len(self.batches):
            return self
        kept = np.linspace(0, len(self.batches) - 1, batches).round().astype(int)
        tokens = [self.tokens[i * self.batch : (i + 1) * self.batch] for i in kept]
        return dataclasses.replace(self, batches=tuple(self.batches[i] for i in kept), tokens=np.concatenate(tokens))


def fixed(config: TrimformerConfig, batch: int, length: int, seed: int = 0) -> Workload:
    """One batch of random ids of full length, with the attention mask given, as a batch without padding has it."""
    given = random_inputs(config, batch, length, seed=seed)
    given["token_type_ids"].zero_()
    return Workload(batch, "fixed", (given,), np.full(batch, length))


def own_lengths(data: Encoded, batches: Sequence[int]) -> list[Workload]:
    """Texts as they are, in batches of these sizes, padded and bucketed (a batch of one has no padding).

    Where there are more than 256 sequences, 256 are taken, evenly spread, in their order.
    """
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), SAMPLE)).round().astype(int))
    ways: tuple[tuple[Lengths, np.ndarray], ...] = (
        ("padded", rows),
        ("bucketed", rows[np.argsort(data.lengths[rows], kind="stable")]),
    )
    return [
        Workload(
            size,
            lengths,
            tuple(_tensors(inputs(data, order[start : start + size])) for start in range(0, len(order), size)),
            data.lengths[order],
        )
        for size in batches
        for lengths, order in (ways if size > 1 else ways[:1])
    ]


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
