"""What is minimised: the loss of the task plus distillation from a teacher, a weighted sum of terms."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..encoder.model.heads import Kind
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.gates import Gates
from .matching import Layers
from .paired import student_inputs, teacher_inputs
from .reading import Reading
from .settings import ObjectiveSettings
from .terms.base import Term


def terms_of(settings: ObjectiveSettings, student: TrimformerConfig, teacher: TrimformerConfig) -> list[Term]:
    """The terms that are on, matched to two models; raises TrimformerError where one has nothing to compare."""
    layers = Layers(student, teacher, settings.layer_map)
    return [term(settings, layers) for term in settings.terms]


def readings_of(terms: Iterable[Term]) -> tuple[Reading, ...]:
    """What the terms read of the teacher beside its logits, each once; raises TrimformerError as the terms do."""
    found = {reading for term in terms for reading in term.readings()}
    return tuple(sorted(found, key=lambda reading: (not reading.is_state, reading.index, reading.name)))


class Objective:
    """Loss of a model on a batch of a kind of task.

    teacher: called without gradient on the same rows; needed where a term needs it.
    unchanged: how many of a model's first layers give what the teacher's give; without gates they are not computed
    where the teacher's states are there.
    """

    unchanged = 0

    def __init__(self, terms: Sequence[Term], kind: Kind, teacher: Callable[..., Any] | None = None) -> None:
        self.kind = kind
        self.own = [term for term in terms if not term.needs_teacher]
        self.distances = [term for term in terms if term.needs_teacher]
        if self.distances and teacher is None:
            raise ValueError("distillation needs a teacher")
        self.teacher = teacher if self.distances else None
        self.reads_answers = any(term.reads_answers and term.weight for term in terms)
        self.asked = {
            "output_hidden_states": any(term.reads_states for term in terms),
            "output_trace": any(term.reads_trace for term in terms),
        }

    def target(self, batch: dict[str, Tensor]) -> Any:
        """What the teacher gives for a batch; None where no term compares with it."""
        if self.teacher is None:
            return None
        with torch.no_grad():
            return self.teacher(**teacher_inputs(self._read(batch)), **self.asked)

    def _read(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch, without the places whose answers no term reads."""
        if self.reads_answers or "asked" not in batch:
            return batch
        return batch | {"asked": torch.zeros_like(batch["asked"]), "labels": batch["labels"][:0]}

    def __call__(
        self, model: Callable[..., Any], batch: dict[str, Tensor], gates: Gates | None = None, target: Any = None
    ) -> Tensor:
        """target: what the teacher gave for this batch, where that is known; None: it is asked."""
        target = self.target(batch) if target is None else target
        batch = self._read(batch)
        known = {} if gates is not None else self._known(target)
        out = model(**student_inputs(batch), gates=gates, **self.asked, **known)
        loss = self._sum(self.own, batch, out, None)
        return loss if target is None else loss + self._sum(self.distances, batch, out, target)

    def _known(self, target: Any) -> dict[str, Any]:
        """The states that a model need not compute."""
        if not self.unchanged or target is None or not self.asked["output_hidden_states"] or self.asked["output_trace"]:
            return {}
        states = target.hidden_states  # a cache has only those that a term compares
        there = states if isinstance(states, dict) else dict(enumerate(states))
        usable = itertools.takewhile(there.__contains__, range(1, self.unchanged + 1))
        return {"known_states": tuple(there[index] for index in usable)}

    def _sum(self, terms: Iterable[Term], batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        total = torch.zeros((), device=batch["attention_mask"].device)
        for term in terms:
            total = total + term.weight * term.loss(self.kind, batch, out, target)
        return total
