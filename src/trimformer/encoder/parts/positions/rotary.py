"""Queries and keys turned by an angle that grows with the position (ModernBERT)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...shape.config import TrimformerConfig
from ...shape.kinds import ATTENTION, POSITIONS
from .base import Mechanism, Placed


@POSITIONS.add("rotary")
class Rotary(Mechanism):
    """Queries and keys turned by an angle that grows with the position (Su et al., 2021, section 3.2.2).

    It has no weights. Layers with another base (``LayerShape.rotary``) have other angles.
    """

    only_scores = False
    keeps = {"query_key": "the positions are in them"}  # noqa: RUF012  (never written to)

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__(config)
        attending = [shape for shape in config.shapes if ATTENTION[shape.attention].attends]
        self.sizes = {shape.rotary: shape.query_key_size for shape in attending if shape.rotary is not None}

    def prepare(self, places: Tensor) -> dict[float, tuple[Tensor, Tensor]]:
        """For each base the cosines and sines, each (1 or batch, 1, n, head size), in fp32."""
        return {base: self.angles(places, base, size) for base, size in self.sizes.items()}

    @staticmethod
    def angles(places: Tensor, base: float, size: int) -> tuple[Tensor, Tensor]:
        exponents = torch.arange(0, size, 2, device=places.device, dtype=torch.float32) / size
        angles = (places[:, None, :, None].float() * (1 / base**exponents)).repeat(1, 1, 1, 2)
        return angles.cos(), angles.sin()

    def place(
        self, state: dict[float, tuple[Tensor, Tensor]], layer: Placed, query: Tensor, key: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        assert layer.rotary is not None
        cos, sin = state[layer.rotary]
        rows = query.shape[-2]
        return rotate(query, cos[..., :rows, :], sin[..., :rows, :]), rotate(key, cos, sin), None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + size / 2) of the last dimension by its angle; in the precision of the angles or better."""
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)
