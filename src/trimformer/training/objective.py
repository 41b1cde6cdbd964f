"""What is minimised: the task loss plus distillation from a teacher of the same depth and width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from ..encoder.gates import Gates
from ..encoder.modeling import task_loss


class ObjectiveSettings(BaseModel):
    """Weights of the terms; a weight of 0 switches a term off."""

    model_config = ConfigDict(extra="forbid")

    task: float = Field(1.0, ge=0, description="cross-entropy, or squared error for regression")
    logits: float = Field(0.0, ge=0, description="distillation of the teacher's logits")
    temperature: float = Field(2.0, gt=0, description="of both softmaxes in the logit term")
    hidden: float = Field(0.0, ge=0, description="distillation of the teacher's hidden states, layer by layer")

    @property
    def needs_teacher(self) -> bool:
        return self.logits > 0 or self.hidden > 0


class Objective:
    """Loss of a model on a batch.

    teacher: called without gradient on the same batch; needed where ``settings.needs_teacher``.
    """

    def __init__(self, settings: ObjectiveSettings, teacher: Callable[..., Any] | None = None) -> None:
        if settings.needs_teacher and teacher is None:
            raise ValueError("distillation needs a teacher")
        self.settings = settings
        self.teacher = teacher if settings.needs_teacher else None

    def __call__(self, model: Callable[..., Any], batch: dict[str, Tensor], gates: Gates | None = None) -> Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        hidden = self.settings.hidden > 0
        out = model(**inputs, gates=gates, output_hidden_states=hidden)
        loss = self.settings.task * task_loss(out.logits, batch["labels"])
        if self.teacher is None:
            return loss
        with torch.no_grad():
            target = self.teacher(**inputs, output_hidden_states=hidden)
        if self.settings.logits:
            regression = batch["labels"].is_floating_point()
            loss = loss + self.settings.logits * logit_loss(
                out.logits, target.logits, self.settings.temperature, regression
            )
        if hidden:
            loss = loss + self.settings.hidden * hidden_loss(
                out.hidden_states[1:], target.hidden_states[1:], batch["attention_mask"]
            )
        return loss


def logit_loss(student: Tensor, teacher: Tensor, temperature: float, regression: bool) -> Tensor:
    """τ² KL(teacher ‖ student) of the softened distributions (Hinton et al., 2015); squared error for regression."""
    student, teacher = student.float(), teacher.float()
    if regression:
        return F.mse_loss(student, teacher)
    log_student = F.log_softmax(student / temperature, -1)
    log_teacher = F.log_softmax(teacher / temperature, -1)
    return temperature**2 * F.kl_div(log_student, log_teacher, log_target=True, reduction="batchmean")


def hidden_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], mask: Tensor) -> Tensor:
    """Mean squared error of hidden states (batch, n, hidden) over real positions, averaged over the layers."""
    real = mask.bool()
    terms = [F.mse_loss(s[real].float(), t[real].float()) for s, t in zip(student, teacher, strict=True)]
    return torch.stack(terms).mean()
