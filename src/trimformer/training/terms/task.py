"""The task itself: what the head is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from torch import Tensor

from ...encoder.model.heads import Kind, task_loss
from .base import TERMS, Term


class TaskTermSettings(BaseModel):
    task: float = Field(1.0, ge=0, description="cross-entropy, or squared error for regression; binary for ranking")


@TERMS.add("task")
class TaskTerm(Term):
    """The loss of the labels, without a teacher."""

    name = "task"
    Settings = TaskTermSettings
    order = 0
    needs_teacher = False
    reads_answers = True

    @classmethod
    def is_on(cls, settings: Any) -> bool:
        """Always: with a weight of 0 every weight still gets its gradient, of 0, and its decay."""
        return True

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        return task_loss(kind, out.logits, batch["labels"], batch["attention_mask"])
