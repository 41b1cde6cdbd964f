"""The rows of the word table become parts that many words share: indices into a codebook for each part.

Prakash et al., "Compressing Transformer-Based Semantic Parsing Models using Compositional Code Embeddings", 2020, write
each word as a few indices into codebooks, and learn both. Here they are found for a table that is trained already, by
product quantization (Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", 2011): the table is
divided into parts of a few columns, and the rows of each part go to the nearest of its centroids (k-means: Lloyd,
"Least Squares Quantization in PCM", 1982).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ...console import Ticker
from ...encoder.packing.codebooks import MOST_BITS
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ..base import Method, MethodSettings, Standard, register, worded
from ..result import Result
from .matrices import SAME_TIME, Matrix, changed

TABLE = "encoder.embeddings.word.weight"
ROUNDS = 25


class CodebookSettings(MethodSettings):
    """Settings of codebook-embedding."""

    name: Literal["codebook-embedding"] = "codebook-embedding"
    width: Literal[2, 4, 8, 16] = Field(4, description="columns of the word table that have a codebook together")
    bits: int = Field(8, ge=1, le=MOST_BITS, description="bits of an index: each codebook has 2^bits entries")

    @property
    def label(self) -> str:
        return f"{worded(self.name)}, {self.bits / self.width:g} bits for a weight"


class Clusters(NamedTuple):
    """centroids: (count, dimensions). nearest: (points,), the index of the nearest one of each point. totals: the sum
    of the squared distances in each round up to the one that these are of."""

    centroids: Tensor
    nearest: Tensor
    totals: list[float]


@register
class CodebookEmbedding(Method):
    """A codebook of 2^bits entries for every few columns of the word table."""

    name = "codebook-embedding"
    Settings = CodebookSettings
    example = {"bits": 2}  # noqa: RUF012  (never written to)
    trains = False
    standard = Standard(stage="quantize", repair=None)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        columns = config.embedding_size or config.hidden_size
        if columns % settings.width:
            raise TrimformerError(
                f"The word table has {columns} columns, which cannot be divided into parts of width={settings.width}: "
                "choose a width that divides them."
            )
        if config.vocab_size <= 2**settings.bits:
            raise TrimformerError(
                f"The word table has {config.vocab_size} rows, and codebooks of {2**settings.bits} entries would be no "
                "smaller: set fewer bits."
            )

    def result(self) -> Result:
        """The model with a table whose rows share their parts; saving writes codebooks and indices."""
        lost = {"error": 0.0, "whole": 1.0}

        def shared(matrix: Matrix) -> Tensor | None:
            if matrix.name != TABLE:
                return None
            table = matrix.weight.detach()
            found = quantized(table, self.settings.width, self.settings.bits, self.context.seed)
            lost.update(error=float((table - found).square().sum()), whole=float(table.square().sum()))
            return found

        model = changed(self.model, shared)
        notes = [
            f"The word table has {2**self.settings.bits} entries for every {self.settings.width} columns and lost "
            f"{lost['error'] / lost['whole']:.1%} of its squares.",
            SAME_TIME,
        ]
        return Result(model, notes=notes)


def quantized(table: Tensor, width: int, bits: int, seed: int) -> Tensor:
    """A table of which each part of ``width`` columns has at most 2^bits different rows."""
    generator, parts = torch.Generator().manual_seed(seed), table.split(width, 1)
    found = []
    with Ticker("Finding codebooks", len(parts)) as tick:
        for part in parts:
            clusters = clustered(part.float(), 2**bits, generator)
            found.append(clusters.centroids[clusters.nearest].to(table.dtype))
            tick.advance()
    return torch.cat(found, 1)


def clustered(points: Tensor, count: int, generator: torch.Generator) -> Clusters:
    """k-means that starts with points drawn at random; a centroid without points stays where it is."""
    centroids, totals = points[torch.randperm(len(points), generator=generator)[:count]], list[float]()
    while True:
        # |x - c|² is least where x c - |c|² / 2 is largest.
        nearest = torch.addmm(centroids.square().sum(1), points, centroids.T, beta=-0.5).argmax(1)
        totals.append(float((points - centroids[nearest]).square().sum()))
        if len(totals) == ROUNDS or (len(totals) > 1 and totals[-1] >= totals[-2]):
            return Clusters(centroids, nearest, totals)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=count)[:, None]
        centroids = torch.where(sizes > 0, sums / sizes.clamp(min=1), centroids)
