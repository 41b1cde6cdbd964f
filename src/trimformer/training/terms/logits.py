"""Distillation of logits (Hinton et al., 2015; squared: Ba and Caruana, 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field
from torch import Tensor

from ...encoder.model.heads import Kind
from ..distill import logit_loss, squared_loss
from .base import TERMS, Term


class LogitsSettings(BaseModel):
    logits: float = Field(0.0, ge=0, description="distillation of the teacher's logits")
    temperature: float = Field(2.0, gt=0, description="of both softmaxes in the logit term")
    logits_distance: Literal["divergence", "squared"] = Field(
        "divergence",
        description="of the softened distributions, or squared: of the logits themselves",
    )


@TERMS.add("logits")
class LogitsTerm(Term):
    """The distance of the teacher's logits."""

    name = "logits"
    Settings = LogitsSettings
    order = 1
    by_number = True
    reads_answers = True

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        if self.settings.logits_distance == "squared":
            return squared_loss(kind, out.logits, target.logits, batch["attention_mask"])
        return logit_loss(kind, out.logits, target.logits, batch["attention_mask"], self.settings.temperature)
