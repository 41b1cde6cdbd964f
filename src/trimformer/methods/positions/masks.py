"""Masks of positions with a logit α for each free value: what a pass is masked by, and what stays in the end.

Shi et al., "SparseBERT: Rethinking the Importance Analysis in Self-attention", 2021, section 4, and its release. A
position is kept with the probability σ(α): a mask is drawn by α + G1 - G2 > 0 with two Gumbel variables, whose
difference is logistic. It has the derivative of σ((α + G1 - G2) / τ) (straight-through).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.kinds import ATTENTION, left_of

SPARSE = "sparse"
TEMPERATURE = 1.0
SPREAD = 1e-3
"""Standard deviation of the α at the start, so that half of the positions is kept."""
EPSILON = 1e-6

Structure = Literal["structured", "unstructured"]


def by_offset(length: int) -> Tensor:
    """The number of the free value of each position, (length, length), where those of the same |i - j| share one."""
    places = torch.arange(length)
    return (places[:, None] - places).abs()


def by_pair(length: int) -> Tensor:
    """The same where (i, j) and (j, i) share one: length (length + 1) / 2 values."""
    places = torch.arange(length)
    low, high = torch.minimum(places[:, None], places), torch.maximum(places[:, None], places)
    return high * (high + 1) // 2 + low


INDEX = {"structured": by_offset, "unstructured": by_pair}


class PositionMasks(nn.Module):
    """Symmetric masks (sets, heads, n, n) for n up to ``length``; structured ones are Toeplitz.

    sets: 1 where the layers share one, else one for each. special: the first token's row and column are always kept;
    they are not counted, nor is a value that only they would have.
    """

    index: Tensor
    counts: Tensor

    def __init__(self, sets: int, heads: int, length: int, structure: Structure, special: bool) -> None:
        super().__init__()
        index = INDEX[structure](length)
        free, first = int(index.max()) + 1, int(special)
        self.logits = nn.Parameter(SPREAD * torch.randn(sets, heads, free))
        self.length, self.first = length, first
        self.register_buffer("index", index, persistent=False)
        counts = torch.bincount(index[first:, first:].flatten(), minlength=free)
        self.register_buffer("counts", counts.float(), persistent=False)

    def forward(self) -> Tensor:
        """Free values that are drawn, 0 or 1, with a gradient: (sets, heads, free)."""
        return drawn(self.logits)

    def over(self, values: Tensor, n: int) -> Tensor:
        """The masks that free values give for texts of n tokens: (sets, heads, n, n)."""
        masks = values[..., self.index[:n, :n]]
        if not self.first:
            return masks
        places = torch.arange(n, device=masks.device) < self.first
        return masks.masked_fill(places | places[:, None], 1.0)

    def total(self, values: Tensor) -> Tensor:
        """The positions of ``length`` tokens that free values keep, over all heads of a set: a mean over the sets."""
        return (values * self.counts).sum() / len(values)

    @torch.no_grad()
    def settled(self) -> Tensor:
        """The free values in the end: 1 where α > 0, else 0."""
        return ((self.logits > 0) & (self.counts > 0)).float()

    def sparsity(self, values: Tensor) -> Tensor:
        """The share of the positions of ``length`` tokens that free values mask, (sets,)."""
        most = self.logits.shape[1] * self.length**2
        kept = (values * self.counts).sum((1, 2))
        return 1 - (kept + most - self.logits.shape[1] * self.counts.sum()) / most


def drawn(logits: Tensor) -> Tensor:
    """1 with the probability σ(α), else 0, with the derivative of σ((α + logistic noise) / τ)."""
    u = torch.rand_like(logits).clamp(EPSILON, 1 - EPSILON)
    noisy = logits + torch.log(u) - torch.log1p(-u)
    soft = torch.sigmoid(noisy / TEMPERATURE)
    return (noisy > 0).to(logits.dtype) + (soft - soft.detach())


def seeing_all(config: TrimformerConfig) -> list[int]:
    """The layers in which every token attends to all."""
    return [index for index, shape in enumerate(config.shapes) if ATTENTION[shape.attention].sees_all(shape)]


def masked_layers(config: TrimformerConfig) -> list[int]:
    """The layers whose attention sees all tokens, and so can be masked."""
    return [index for index in seeing_all(config) if left_of(config.shapes[index].attention, SPARSE) == SPARSE]


def sparse(pattern: dict[str, Any]) -> dict[str, Any]:
    """The kind of attention that has this pattern."""
    return {"kind": SPARSE, "pattern": pattern}
