"""Gradual magnitude pruning: more and more of the smallest weights become 0 while the others are trained.

Zhu and Gupta, "To prune, or not to prune", 2017: the share that is kept falls by a cubic schedule, fast at first,
v_t = v_f + (v_i - v_f) (1 - progress)³. The mask is taken anew in each step from the dense weights: one that is masked
is kept, without a gradient, and comes back when others fall below it.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.baked import bake
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import DISTILLED, Context, MethodSettings, Standard, StudentMethod, register, worded
from ..result import Result


class MagnitudeSettings(MethodSettings):
    """Settings of magnitude."""

    name: Literal["magnitude"] = "magnitude"
    density: float = Field(gt=0, lt=1, description="share of the weights of the layers' linear maps that stays")
    scope: Literal["matrix", "global"] = Field(
        "matrix", description="whether weights compete within their matrix or with those of all layers"
    )
    begin: float = Field(0.0, ge=0, le=1, description="share of the steps after which weights begin to go")
    end: float = Field(0.7, gt=0, le=1, description="share of the steps after which no more go")

    @property
    def label(self) -> str:
        return f"{worded(self.name)}, keep {self.density:.0%} of the weights"


class Masked(nn.Module):
    """A weight times its mask."""

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


@register
class Magnitude(StudentMethod):
    """Mask the smallest weights, more in each step, and train the others."""

    name = "magnitude"
    Settings = MagnitudeSettings
    example = {"density": 0.5}  # noqa: RUF012  (never written to)
    decides = False
    standard = Standard(objective=DISTILLED, repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        self.weights = masked(context.model)
        super().__init__(settings, context)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if settings.end < settings.begin:
            raise TrimformerError(f"end={settings.end} lies before begin={settings.begin}: set end to at least begin.")

    def update(self, step: int) -> dict[str, float]:
        logged, settings = super().update(step), self.settings
        share = kept_share(step / self.context.steps, settings.density, settings.begin, settings.end)
        with self.clock("step"):
            self.mask(share)
        return logged | {"density": share}

    @torch.no_grad()
    def mask(self, share: float) -> None:
        """Take the masks anew from the dense weights, which are trained on under them."""
        names = list(self.weights)
        for group in [names] if self.settings.scope == "global" else [[name] for name in names]:
            chosen = largest([self.weights[name].original for name in group], share)
            for name, mask in zip(group, chosen, strict=True):
                self.weights[name][0].mask.copy_(mask)

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def result(self) -> Result:
        """The model with zeros among its weights; where the training was cut short, what is to go goes now."""
        self.mask(self.settings.density)
        return Result(bake(self.model).cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        masks = [parametrizations[0].mask for parametrizations in self.weights.values()]
        kept, total = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
        among = "all layers" if self.settings.scope == "global" else "each matrix"
        return [
            f"{kept:,} of {total:,} weights of the layers' linear maps stay ({kept / total:.1%}), the largest of "
            f"{among}; the others are 0.",
            "The file is smaller, because a zero is saved as a bit, and the time is the same: hardware for dense "
            "matrices needs as long as before.",
        ]


def masked(model: TrimformerWithHead) -> dict[str, Any]:
    """Put masks on the linear maps of the layers, once on those that layers share; their parametrizations by name."""
    maps = {name: module for name, module in model.encoder.layers.named_modules() if isinstance(module, nn.Linear)}
    for module in maps.values():
        parametrize.register_parametrization(module, "weight", Masked(module.weight))
    return {name: module.parametrizations.weight for name, module in maps.items()}  # type: ignore[union-attr]


def kept_share(done: float, final: float, begin: float, end: float) -> float:
    """The share that is kept when this share of the steps is done: 1 until begin, final from end on."""
    if done >= end:
        return final
    progress = max(0.0, done - begin) / (end - begin) if end > begin else 0.0
    return final + (1 - final) * (1 - progress) ** 3


def largest(weights: list[Tensor], share: float) -> list[Tensor]:
    """Masks of the floor(share N) largest among these weights, of equals the first ones."""
    flat = torch.cat([weight.abs().flatten() for weight in weights])
    chosen = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    chosen[torch.sort(flat, descending=True, stable=True).indices[: int(share * len(flat))]] = True
    parts = chosen.split([weight.numel() for weight in weights])
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
