"""What is minimised: the task loss plus distillation from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..encoder.model.heads import Kind, task_loss
from ..encoder.shape.gates import Gates
from .distill import attention_loss, hidden_loss, logit_loss, relation_loss
from .matching import Matching, Pair
from .settings import ObjectiveSettings


class Objective:
    """Loss of a model on a batch of a kind of task.

    teacher: called without gradient on the same batch. matching: which of its layers teach which of the model's. Both
    are needed where ``settings.needs_teacher``.
    """

    def __init__(
        self,
        settings: ObjectiveSettings,
        kind: Kind,
        teacher: Callable[..., Any] | None = None,
        matching: Matching | None = None,
    ) -> None:
        if settings.needs_teacher and (teacher is None or matching is None):
            raise ValueError("distillation needs a teacher and a matching of its layers")
        self.settings, self.kind = settings, kind
        self.teacher = teacher if settings.needs_teacher else None
        self.matching = matching or Matching()

    def __call__(self, model: Callable[..., Any], batch: dict[str, Tensor], gates: Gates | None = None) -> Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        asked = {"output_hidden_states": self.settings.reads_states, "output_trace": self.settings.reads_trace}
        out = model(**inputs, gates=gates, **asked)
        mask = batch["attention_mask"]
        loss = self.settings.task * task_loss(self.kind, out.logits, batch["labels"], mask)
        if self.teacher is None:
            return loss
        with torch.no_grad():
            target = self.teacher(**inputs, **asked)
        return loss + self.distance(out, target, mask)

    def distance(self, out: Any, target: Any, mask: Tensor) -> Tensor:
        """The weighted sum of the distillation terms, from what the student and the teacher gave for one batch."""
        settings, matching = self.settings, self.matching
        total = torch.zeros((), device=mask.device)
        if settings.logits:
            distance = logit_loss(self.kind, out.logits, target.logits, mask, settings.temperature)
            total = total + settings.logits * distance
        if settings.hidden:
            student = [out.hidden_states[layer + 1] for layer, _ in matching.hidden]
            teacher = [target.hidden_states[layer + 1] for _, layer in matching.hidden]
            total = total + settings.hidden * hidden_loss(student, teacher, mask)
        if settings.embeddings:
            distance = hidden_loss(out.hidden_states[:1], [target.hidden_states[0]], mask)
            total = total + settings.embeddings * distance
        if settings.attention:
            pairs = self._attending(out, matching.attention)
            distance = attention_loss([out.trace[s] for s, _ in pairs], [target.trace[t] for _, t in pairs], mask)
            total = total + settings.attention * distance
        for s, t in self._attending(out, matching.relations):
            distance = relation_loss(
                out.trace[s], target.trace[t], mask, settings.relation_terms, matching.relation_heads
            )
            total = total + settings.relations * distance
        return total

    @staticmethod
    def _attending(out: Any, pairs: tuple[Pair, ...]) -> list[Pair]:
        """The pairs whose student layer is not gated off in this pass."""
        return [pair for pair in pairs if out.trace[pair[0]] is not None]
