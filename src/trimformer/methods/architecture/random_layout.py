"""Random architectures of a given cost: the control of a search (Li and Talwalkar, "Random Search and Reproducibility
for Neural Architecture Search", 2019).
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from ...encoder.shape.gates import Gates
from ..base import register
from .layout import LEAST, Layout, Searched, SearchedSettings


class RandomSettings(SearchedSettings):
    """Settings of random."""

    name: Literal["random"] = "random"


@register
class Random(Searched):
    """Draw layouts of the cost, and leave the one with the lowest loss."""

    name = "random"
    Settings = RandomSettings
    example = {"target": 0.6, "trials": 3, "rows": 16}  # noqa: RUF012  (never written to)

    def decide(self) -> Gates:
        self.generator = torch.Generator().manual_seed(self.context.seed)
        return super().decide()

    def draw(self) -> Layout:
        """A layout: how many layers go, and how many lose their attention, is drawn first, then which."""
        layout, parts = Layout.alike(self.layers), self.settings.parts
        if "layers" in parts:
            self._drop(layout.layers, layout, self.layouts.may_go)
        if "attention" in parts:
            self._drop(layout.attention, layout, [index for index in self.removable if layout.layers[index]])
        return Layout(layout.layers, layout.attention, self._weights(), self._weights())

    def _drop(self, kept: list[bool], layout: Layout, may_go: list[int]) -> None:
        order = [may_go[place] for place in torch.randperm(len(may_go), generator=self.generator).tolist()]
        self.layouts.drop(kept, layout, order, torch.rand((), generator=self.generator).item())

    def _weights(self) -> list[float]:
        drawn: Any = torch.rand(self.layers, generator=self.generator) * (1 - LEAST) + LEAST
        found: list[float] = drawn.tolist()
        return found
