"""Plain fine-tuning. It removes nothing; it is the dense baseline, and the repair after a removal."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import field_validator

from ..encoder.shape.gates import Gates
from ..tasks.outcome import outcome
from ..training.evaluate import predict_logits
from .base import MethodSettings, Standard, StudentMethod, register


class FineTuneSettings(MethodSettings):
    """Plain fine-tuning has no settings of its own."""

    name: Literal["finetune", "none"] = "finetune"

    @field_validator("name")
    @classmethod
    def _today(cls, _: str) -> str:
        """The method was called ``none`` once."""
        return "finetune"


@register
class FineTune(StudentMethod):
    """Train all weights under the stage's objective; keep the epoch with the best selection score."""

    name = "finetune"
    former_names = ("none",)
    Settings = FineTuneSettings
    decides = False
    standard = Standard(stage="finetune", repair=None)

    def validate(self) -> float:
        data = self.context.selection
        logits = predict_logits(self.networks["model"].module, data)
        task = self.context.task
        return task.metric.rank(outcome(task, data, logits).scores[task.metrics[0]])

    def decide(self) -> Gates:
        return Gates(attention=torch.ones(self.layers))
