"""Distillation of the direction of the last hidden states (DistilBERT: Sanh et al., 2019, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional as F

from ...encoder.model.heads import Kind
from ..reading import Reading, state
from .base import TERMS, Term


class CosineSettings(BaseModel):
    cosine: float = Field(0.0, ge=0, description="distillation of the direction of the last hidden states")


@TERMS.add("cosine")
class CosineTerm(Term):
    """One minus the cosine between the last states of the student and those of the teacher, a mean over real tokens."""

    name = "cosine"
    order = 6
    Settings = CosineSettings
    reads_states = True

    def readings(self) -> set[Reading]:
        return {state(self.layers.teacher, self.layers.teacher.num_hidden_layers)}

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        real = batch["attention_mask"].bool()
        student = out.hidden_states[self.layers.student.num_hidden_layers]
        teacher = target.hidden_states[self.layers.teacher.num_hidden_layers]
        return 1 - F.cosine_similarity(student[real].float(), teacher[real].float(), dim=-1).mean()
