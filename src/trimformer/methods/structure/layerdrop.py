"""LayerDrop: layers are skipped at random while training, so that whole layers can be dropped afterwards.

Fan, Grave and Joulin, "Reducing Transformer Depth on Demand with Structured Dropout", 2020.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ..base import MethodSettings, StudentMethod, register, worded
from ..expected import shape_after
from .depth import layer_gates


class LayerDropSettings(MethodSettings):
    """Settings of LayerDrop."""

    name: Literal["layerdrop"] = "layerdrop"
    keep: int = Field(ge=1, description="whole layers that stay in the end, evenly spaced")
    skip: float = Field(0.2, ge=0, lt=1, description="probability that a layer is skipped in a training step")

    @property
    def label(self) -> str:
        return worded(self.name, keep=self.keep)


@register
class LayerDrop(StudentMethod):
    """Train with layers skipped at random, then drop every other one, or as many as are to go."""

    name = "layerdrop"
    Settings = LayerDropSettings
    example = {"keep": 2, "skip": 0.5}  # noqa: RUF012  (never written to)

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        layers = super().after(settings, config).num_hidden_layers
        return shape_after(config, layer_gates(layers, every_other(layers, settings.keep)))

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        kept = torch.bernoulli(torch.full((self.layers,), 1 - self.settings.skip))
        return {"loss": self.learn(batch, share, Gates(layers=kept)), "kept": kept.sum().item()}

    def decide(self) -> Gates:
        return layer_gates(self.layers, every_other(self.layers, self.settings.keep))


def every_other(layers: int, keep: int) -> list[int]:
    """The indices of `keep` layers, evenly spaced from the first one on.

    Where 1 in k goes it is each k-th, counted from 1, as published.
    """
    return [index * layers // keep for index in range(keep)]
