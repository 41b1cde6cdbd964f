"""Uniform shrinking: all layers lose the same share of their heads and units, down to a cost."""

from __future__ import annotations

from typing import Any, Literal

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import Method, register
from .layout import Layout, Layouts, LayoutSettings, Part, check_layout

PARTS: list[Part] = ["heads", "units"]


class UniformSettings(LayoutSettings):
    """Settings of uniform."""

    name: Literal["uniform"] = "uniform"


@register
class Uniform(Method):
    """Shrink all layers alike."""

    name = "uniform"
    Settings = UniformSettings
    example = {"target": 0.6, "rows": 16}  # noqa: RUF012  (never written to)
    trains = False

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        check_layout(settings, config, PARTS)

    def decide(self) -> Gates:
        layouts = Layouts(self.settings, self.context, PARTS)
        gates = layouts.gates(Layout.alike(self.layers))
        if gates is None:
            raise TrimformerError(
                f"No share of heads and units costs {self.settings.target:g} of the dense layers' {layouts.cost}, to "
                "within a twentieth: choose another target."
            )
        self.left = f"{layouts.share(gates):.3f} of the dense layers' {layouts.cost} stay"
        return gates

    def notes(self) -> list[str]:
        return [f"{self.left} (target {self.settings.target:g}): all layers keep the same share of heads and units."]
