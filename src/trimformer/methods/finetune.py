"""``none``: plain fine-tuning. It removes nothing; it is the dense baseline, and the repair after a removal."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..encoder.gates import Gates
from ..tasks.outcome import outcome
from ..training.evaluate import predict_logits
from .base import Context, Method, MethodSettings, register


class FineTuneSettings(MethodSettings):
    """Plain fine-tuning has no settings of its own."""

    name: Literal["none"] = "none"


@register
class FineTune(Method):
    """Train all weights under the stage's objective; keep the epoch with the best selection score."""

    name = "none"
    Settings = FineTuneSettings

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.networks["model"] = context.student("model", context.model)
        self.objective = context.make_objective()

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        with self.clock("step"):
            loss = self.objective(self.networks["model"], batch)
            self.networks["model"].backward(loss, share)
        return {"loss": loss.item()}

    def update(self, step: int) -> dict[str, float]:
        with self.clock("step"):
            self.networks["model"].step()
        return {}

    def validate(self) -> float:
        data = self.context.selection
        logits = predict_logits(self.networks["model"].module, data, device=self.context.accelerator.device)
        return next(iter(outcome(self.context.task, data, logits).scores.values()))

    def decide(self) -> Gates:
        return Gates(attention=torch.ones(self.layers))
