"""Plain fine-tuning. It removes nothing; it is the dense baseline, and the repair after a removal."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import torch
from pydantic import Field, field_validator

from ..encoder.shape.gates import Gates
from ..tasks.encoding.batches import bucketed_batches
from ..tasks.outcome import outcome
from ..training.evaluate import evaluating, predict_logits
from .base import Context, MethodSettings, Standard, StudentMethod, register
from .weights.repair import same

HELD_OUT = "held-out loss"
"""The curve of the objective on the selection rows."""


class FineTuneSettings(MethodSettings):
    """Settings of plain fine-tuning."""

    name: Literal["finetune", "none"] = "finetune"
    freeze_unchanged: bool = Field(
        False, description="train neither the embeddings nor the first layers where they are still the dense model's"
    )

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
    trains_students = True
    standard = Standard(stage="finetune", repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        self.unchanged = unchanged_layers(context) if settings.freeze_unchanged else None
        if self.unchanged is not None:
            context.model.encoder.freeze(self.unchanged)
        super().__init__(settings, context)
        self.objective.unchanged = self.unchanged or 0

    def notes(self) -> list[str]:
        if not self.settings.freeze_unchanged:
            return []
        if self.unchanged is None:
            return ["all weights were trained, because the embeddings are not those of the dense model."]
        layers = "1 layer" if self.unchanged == 1 else f"{self.unchanged} layers"
        return [
            f"the embeddings and the first {layers} stayed those of the dense model."
            if self.unchanged
            else "the embeddings stayed those of the dense model."
        ]

    @property
    def headless(self) -> bool:
        """Whether the stage distils from plain text alone: a head that nothing trains has no score."""
        return self.context.selection.kind == "masked-lm" and not self.objective.reads_answers

    def update(self, step: int) -> dict[str, float]:
        if self.headless and step == 1:
            self.history.add(HELD_OUT, 0, self.held_out())
        self.step = step
        return super().update(step)

    def validate(self) -> float:
        if self.headless:
            loss = self.held_out()
            self.history.add(HELD_OUT, self.step, loss)
            return -loss
        data = self.context.selection
        logits = predict_logits(self.networks["model"].module, data)
        task = self.context.task
        return task.metric.rank(outcome(task, data, logits).scores[task.metrics[0]])

    def held_out(self) -> float:
        """The objective on the selection rows, a mean over them."""
        data, model, total = self.context.selection, self.networks["model"], 0.0
        with torch.no_grad(), evaluating(model.module):
            for indices in bucketed_batches(data.lengths, self.context.training.batch_size, 0, 0, shuffle=False):
                batch = {k: v.to(self.context.accelerator.device) for k, v in data.batch(indices).items()}
                total += len(indices) * self.objective(model, batch).item()
        return total / len(data)

    def decide(self) -> Gates:
        return Gates(attention=torch.ones(self.layers))


def unchanged_layers(context: Context) -> int | None:
    """How many of the first layers are those of the dense model, the last layer not counted; None where the embeddings
    differ already. A layer that hands on fewer tokens is none of them: what comes behind it depends on which.
    """
    assert context.teacher is not None, "a recipe that freezes without a teacher is refused"
    ours, theirs = context.model.encoder, context.teacher.encoder
    numbered = all(
        getattr(ours.config, name) == getattr(theirs.config, name) for name in ("positions", "passage_start")
    )
    if context.teacher_train is not None or not numbered or not same(ours.embeddings, theirs.embeddings):
        return None
    if ours.config.sharing is not None or not same(ours.positions, theirs.positions):
        return 0  # a layer's weights are also those of others
    if ours.config.split_layers != theirs.config.split_layers:
        return 0
    layers = zip(ours.config.shapes, theirs.config.shapes, ours.layers[:-1], theirs.layers, strict=False)

    def stays(pair: tuple[Any, ...]) -> bool:
        shape, other, *modules = pair
        return shape == other and shape.tokens is None and same(*modules)

    return sum(1 for _ in itertools.takewhile(stays, layers))
