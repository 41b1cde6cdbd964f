"""Quant-Noise: in each step a random part of the weights is rounded, and all of them at the end.

Fan, Stock, Graham, Grave, Gribonval, Jégou and Joulin, "Training with Quantization Noise for Extreme Model
Compression", 2021: the gradient passes the rounding as if it were not there only where weights are rounded, and it is
exact for all others, so that few bits bias the training less than where all weights are rounded. A block, which is
rounded as a whole, is a group of 64 weights in a row, the packing ``groups``.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.packing.groups import FEWEST_BITS, GROUP, MOST_BITS
from ..base import Context, MethodSettings, register, worded
from .fake import GroupedWeight, RoundedInput, RoundedTraining, round_weights
from .matrices import SAME_TIME

LAYERS = "encoder.layers."


class QuantNoiseSettings(MethodSettings):
    """Settings of quant-noise."""

    name: Literal["quant-noise"] = "quant-noise"
    bits: int = Field(4, ge=FEWEST_BITS, le=MOST_BITS, description="bits of a weight of the layers")
    embedding_bits: int = Field(
        8, ge=FEWEST_BITS, le=MOST_BITS, description="bits of a weight of the embedding tables and of the head's maps"
    )
    rate: float = Field(0.5, gt=0, le=1, description="share of the blocks that are rounded in a step")

    @property
    def label(self) -> str:
        return f"{worded(self.name)}, {self.bits} bits, {self.embedding_bits} in embeddings"


class NoisyWeight(GroupedWeight):
    """In training a random share of the groups is rounded, drawn anew in each pass; all of them otherwise."""

    def __init__(self, bits: int, rate: float) -> None:
        super().__init__(bits)
        self.rate = rate

    def forward(self, weight: Tensor) -> Tensor:
        found = super().forward(weight)
        if not self.training:
            return found
        columns = weight.shape[-1]
        drawn = torch.rand(*weight.shape[:-1], -(-columns // GROUP), device=weight.device) < self.rate
        return torch.where(drawn.repeat_interleave(GROUP, -1)[..., :columns], found, weight)


@register
class QuantNoise(RoundedTraining):
    """Round a random part of the weights in each step, and all of them at the end."""

    name = "quant-noise"
    Settings = QuantNoiseSettings
    example = {"bits": 2}  # noqa: RUF012  (never written to)

    def put(self, settings: Any, context: Context) -> dict[str, RoundedInput]:
        def noise(name: str) -> NoisyWeight:
            inside = name.startswith(LAYERS)
            return NoisyWeight(settings.bits if inside else settings.embedding_bits, settings.rate)

        round_weights(context.model, noise)
        return {}

    def notes(self) -> list[str]:
        """What saving writes, and that it saves no time."""
        return [
            f"In each step {self.settings.rate:.0%} of the blocks were rounded, and all of them are now.",
            SAME_TIME,
        ]
