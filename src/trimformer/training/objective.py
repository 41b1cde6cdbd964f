"""What is minimised: the task loss plus distillation from a teacher of the same depth and width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from ..encoder.gates import Gates
from ..encoder.heads import Kind, task_loss


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
    """Loss of a model on a batch of a kind of task.

    teacher: called without gradient on the same batch; needed where ``settings.needs_teacher``.
    """

    def __init__(self, settings: ObjectiveSettings, kind: Kind, teacher: Callable[..., Any] | None = None) -> None:
        if settings.needs_teacher and teacher is None:
            raise ValueError("distillation needs a teacher")
        self.settings, self.kind = settings, kind
        self.teacher = teacher if settings.needs_teacher else None

    def __call__(self, model: Callable[..., Any], batch: dict[str, Tensor], gates: Gates | None = None) -> Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        hidden = self.settings.hidden > 0
        out = model(**inputs, gates=gates, output_hidden_states=hidden)
        mask = batch["attention_mask"]
        loss = self.settings.task * task_loss(self.kind, out.logits, batch["labels"], mask)
        if self.teacher is None:
            return loss
        with torch.no_grad():
            target = self.teacher(**inputs, output_hidden_states=hidden)
        if self.settings.logits:
            distance = logit_loss(self.kind, out.logits, target.logits, mask, self.settings.temperature)
            loss = loss + self.settings.logits * distance
        if hidden:
            loss = loss + self.settings.hidden * hidden_loss(out.hidden_states[1:], target.hidden_states[1:], mask)
        return loss


def logit_loss(kind: Kind, student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """τ² KL(teacher ‖ student) of the softened distributions (Hinton et al., 2015); squared error for regression.

    A mean over texts; over real tokens for tokens; over both ends, each a distribution over the tokens, for spans; for
    several labels the mean over labels of the divergence between the two-way distributions.
    """
    student, teacher = student.float(), teacher.float()
    if kind == "regression":
        return F.mse_loss(student, teacher)
    student, teacher = student / temperature, teacher / temperature
    if kind == "multilabel":  # a label is a choice between the logit and 0
        student, teacher = (torch.stack([x, torch.zeros_like(x)], -1).flatten(0, -2) for x in (student, teacher))
    elif kind == "tokens":
        student, teacher = student[mask.bool()], teacher[mask.bool()]
    elif kind == "spans":
        lowest = torch.finfo(student.dtype).min
        padded = ~mask.bool()[..., None]
        student, teacher = (x.masked_fill(padded, lowest).transpose(1, 2).flatten(0, 1) for x in (student, teacher))
    logs = F.log_softmax(student, -1), F.log_softmax(teacher, -1)
    return temperature**2 * F.kl_div(*logs, log_target=True, reduction="batchmean")


def hidden_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], mask: Tensor) -> Tensor:
    """Mean squared error of hidden states (batch, n, hidden) over real positions, averaged over the layers."""
    real = mask.bool()
    terms = [F.mse_loss(s[real].float(), t[real].float()) for s, t in zip(student, teacher, strict=True)]
    return torch.stack(terms).mean()
