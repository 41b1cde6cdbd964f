"""Gradual magnitude pruning: more and more of the smallest weights become 0 while the others are trained.

Zhu and Gupta, "To prune, or not to prune", 2017: the share that is kept falls by a cubic schedule, fast at first. The
mask is taken anew in each step from the dense weights: one that is masked is kept, without a gradient, and comes back
when others fall below it.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from ..base import register
from .masks import Pruning, ScheduleSettings, kept_label, largest


class MagnitudeSettings(ScheduleSettings):
    """Settings of magnitude."""

    name: Literal["magnitude"] = "magnitude"
    density: float = Field(gt=0, lt=1, description="share of the weights of the layers' linear maps that stays")
    scope: Literal["matrix", "global"] = Field(
        "matrix", description="whether weights compete within their matrix or with those of all layers"
    )

    @property
    def label(self) -> str:
        return kept_label(self.name, self.density)


@register
class Magnitude(Pruning):
    """Mask the smallest weights, more in each step, and train the others."""

    name = "magnitude"
    Settings = MagnitudeSettings
    example = {"density": 0.5}  # noqa: RUF012  (never written to)

    def prune(self, step: int) -> None:
        self.mask(self.settings.at(step / self.context.steps, 1.0, self.settings.density))

    @torch.no_grad()
    def mask(self, share: float) -> None:
        """Take the masks anew from the dense weights, which are trained on under them."""
        names = list(self.weights)
        for group in [names] if self.settings.scope == "global" else [[name] for name in names]:
            sizes = [self.weights[name].original.abs() for name in group]
            self.keep(dict(zip(group, largest(sizes, share), strict=True)))

    def chosen(self) -> str:
        return f"the largest of {'all layers' if self.settings.scope == 'global' else 'each matrix'}"
