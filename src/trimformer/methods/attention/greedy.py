"""Backward elimination: the attention layer that is missed least goes, the others learn to do without it, and again.

The removal is greedy, so that it sees what a set of layers does together only through the layers that are gone already;
but each choice is made with weights that have learned to live with all earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...tasks.encoding.batches import drawn_rows
from ...training.evaluate import mean_loss
from ..base import DISTILLED, Context, KeepSettings, Standard, StudentMethod, register
from ..expected import keep_gates, shape_keeping


class GreedySettings(KeepSettings):
    """Settings of backward elimination."""

    name: Literal["greedy"] = "greedy"
    ramp: float = Field(
        0.6, gt=0, le=1, description="share of the steps in which the layers fall to keep_layers, evenly"
    )
    rows: int = Field(1000, ge=1, description="rows of the selection split on which the layers are compared")


@register
class Greedy(StudentMethod):
    """Remove one attention layer after the other while training; the rest of the steps repairs."""

    name = "greedy"
    Settings = GreedySettings
    example = {"keep_layers": 1}  # noqa: RUF012  (never written to)
    standard = Standard(objective=DISTILLED)  # each removal is repaired while the search goes on

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.kept = self.removable
        self.at_start = len(self.kept)
        self.removals: list[tuple[int, int, float]] = []  # step, layer, loss without it

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        return shape_keeping(super().after(settings, config), settings.keep_layers, settings.replace_by)

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        return {"loss": self.learn(batch, share, self.gates(self.kept))}

    def update(self, step: int) -> dict[str, float]:
        super().update(step)
        with self.clock("removal"):
            while len(self.kept) > self.target(step):
                self.remove(step)
        self.history.add("keep_probability", step, [float(index in self.kept) for index in range(self.layers)])
        return {"kept": len(self.kept)}

    def target(self, step: int) -> int:
        """Attention layers that are left after this step."""
        progress = min(1.0, step / (self.settings.ramp * self.context.steps))
        return self.at_start - int(max(0, self.at_start - self.settings.keep_layers) * progress)

    def remove(self, step: int) -> None:
        """Remove the layer without which the loss on the selection split is lowest, of equals the last one."""
        losses = [self.loss([other for other in self.kept if other != index]) for index in self.kept]
        # All processes must remove the same layer, however their sums are rounded.
        accelerator = self.context.accelerator
        losses = accelerator.reduce(torch.tensor(losses, device=accelerator.device), reduction="mean").tolist()
        lowest = min(losses)
        layer = max(index for index, loss in zip(self.kept, losses, strict=True) if loss == lowest)
        self.kept.remove(layer)
        self.removals.append((step, layer, lowest))

    def loss(self, kept: list[int]) -> float:
        """The task loss of the weights as they are, with these attention layers."""
        data = self.context.selection
        return mean_loss(
            self.networks["model"].module,
            data,
            rows=drawn_rows(len(data), self.settings.rows, self.context.seed),
            gates=self.gates(kept),
        )

    def gates(self, kept: list[int]) -> Gates:
        return keep_gates(self.layers, set(kept), self.settings.replace_by)

    def decide(self) -> Gates:
        return self.gates(self.kept)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"kept": list(self.kept), "removals": list(self.removals)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.kept = list(state["kept"])
        self.removals = [(step, layer, loss) for step, layer, loss in state["removals"]]

    def notes(self) -> list[str]:
        if not self.removals:
            return ["No layer lost its attention."]
        rows = min(self.settings.rows, len(self.context.selection))
        order = ", ".join(f"layer {layer} (step {step}, loss {loss:.4f})" for step, layer, loss in self.removals)
        return [f"Attention was removed from {order}; losses were computed on {rows} rows of the selection split."]
