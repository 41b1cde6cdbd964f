"""Each weight becomes one of a few values of its matrix, but for outliers; nothing is trained.

Zadeh, Edo, Awad and Moshovos, "GOBO: Quantizing Attention-Based NLP Models for Low Latency and Energy Efficient
Inference", 2020. A normal distribution is fitted to the weights of a matrix; those whose log-density lies below -4 are
outliers and stay as they are. The others are divided into 2^b parts of equal size, whose means are the first centroids.
Then each weight goes to the nearest centroid, and the centroids become the means of theirs, as long as the total
distance (L1) falls.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ..base import Method, MethodSettings, Standard, register, worded
from ..result import Result
from .matrices import SAME_TIME, Matrix, changed

LOWEST = -4.0
"""The log-density below which a weight is an outlier."""


class GoboSettings(MethodSettings):
    """Settings of gobo."""

    name: Literal["gobo"] = "gobo"
    bits: int = Field(3, ge=1, le=8, description="bits of a weight: each matrix has 2^bits values")
    embedding_bits: int = Field(4, ge=1, le=8, description="the same of the embedding tables")

    @property
    def label(self) -> str:
        return f"{worded(self.name)}, {self.bits} bits, {self.embedding_bits} in embeddings"


class Fit(NamedTuple):
    """centroids: (values,), rising. totals: the L1 distance in each round up to the one that they are of."""

    centroids: Tensor
    totals: list[float]


@register
class Gobo(Method):
    """A dictionary of 2^bits values for each matrix, and outliers."""

    name = "gobo"
    Settings = GoboSettings
    trains = False
    standard = Standard(stage="quantize", repair=None)

    def result(self) -> Result:
        """The model with few values in each matrix; saving writes them as a dictionary and indices."""
        counts = {"matrices": 0, "weights": 0, "outliers": 0}

        def few(matrix: Matrix) -> Tensor:
            settings: Any = self.settings
            found, apart = quantized(matrix.weight, settings.embedding_bits if matrix.table else settings.bits)
            counts["matrices"] += 1
            counts["weights"] += found.numel()
            counts["outliers"] += apart
            return found

        model = changed(self.model, few)
        notes = [
            f"{counts['matrices']} matrices have few values now; {counts['outliers']:,} of their "
            f"{counts['weights']:,} weights are outliers and stay as they were.",
            SAME_TIME,
        ]
        return Result(model, notes=notes)


def quantized(weight: Tensor, bits: int) -> tuple[Tensor, int]:
    """A matrix with at most 2^bits values beside its outliers, and how many these are."""
    flat = weight.detach().flatten().double()
    apart = outliers(flat)
    inside = flat[~apart]
    if len(inside):
        centroids = fitted(inside.sort().values, bits).centroids
        flat[~apart] = centroids[nearest(inside, centroids)]
    return flat.to(weight.dtype).view_as(weight), int(apart.sum())


def outliers(values: Tensor) -> Tensor:
    """Which values have a log-density below -4 under the normal distribution that is fitted to all of them."""
    mean, deviation = values.mean(), values.std(correction=0)
    if deviation == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    density = -((values - mean) / deviation).square() / 2 - deviation.log() - math.log(2 * math.pi) / 2
    return density < LOWEST


def fitted(ordered: Tensor, bits: int) -> Fit:
    """The centroids of values in rising order, which lie in a run for each centroid: sums of runs are all it needs."""
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    centroids = torch.stack([part.mean() for part in torch.tensor_split(ordered, 2**bits) if len(part)])
    best, totals = centroids, list[float]()
    while True:
        edges = torch.searchsorted(ordered, between(centroids), right=True)
        edges = torch.cat([edges.new_zeros(1), edges, edges.new_full((1,), len(ordered))])
        first, end = edges[:-1], edges[1:]
        middle = torch.searchsorted(ordered, centroids).clamp(first, end)  # where a run passes its centroid
        below = centroids * (middle - first) - (sums[middle] - sums[first])
        above = sums[end] - sums[middle] - centroids * (end - middle)
        total = float((below + above).sum())
        if totals and total >= totals[-1]:
            return Fit(best, totals)
        best, totals = centroids, [*totals, total]
        means = (sums[end] - sums[first]) / (end - first).clamp(min=1)
        centroids = torch.where(end > first, means, centroids)


def nearest(values: Tensor, centroids: Tensor) -> Tensor:
    """The index of the nearest of rising centroids, in the middle between two the lower one."""
    return torch.bucketize(values, between(centroids))


def between(centroids: Tensor) -> Tensor:
    return (centroids[1:] + centroids[:-1]) / 2
