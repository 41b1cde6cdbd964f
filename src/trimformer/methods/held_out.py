"""Rows that no weight is trained on, a batch of them for each step: what a search learns its structure on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from ..encoder.model.heads import task_loss
from ..encoder.shape.gates import Gates
from ..errors import TrimformerError
from ..tasks.encoding.batches import bucketed_batches, drawn_rows
from ..tasks.encoding.couples import whole
from ..tasks.encoding.part import Part
from ..training.loop import total_steps
from .base import Context


class HeldOut:
    """Batches of rows, pass after pass, the order drawn with the seed of the stage."""

    def __init__(self, rows: Any, context: Context) -> None:
        self.rows, self.context = rows, context
        self.order: list[list[int]] = []
        self.round = -1

    def batch(self, step: int) -> dict[str, Tensor]:
        """That of a step, numbered from 1, on the device."""
        size = self.context.training.batch_size
        number, index = divmod(step - 1, -(-len(self.rows) // size))
        if number != self.round:
            self.order = bucketed_batches(self.rows.lengths, size, self.context.seed + 1, number)
            self.round = number
        batch = self.rows.batch(self.order[index])
        return {name: value.to(self.context.accelerator.device) for name, value in batch.items()}

    def loss(self, model: Callable[..., Any], step: int, gates: Gates) -> Tensor:
        """That of the task on the batch of a step."""
        batch = self.batch(step)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = model(**inputs, gates=gates).logits
        return task_loss(self.context.task.kind, logits, batch["labels"], batch["attention_mask"])


def split(context: Context, share: float) -> tuple[Context, HeldOut]:
    """The stage without a share of its training rows, for the weights, and these rows, drawn with the seed.

    At least one row is on either side. Rows without labels all stay with the weights. Raises TrimformerError where
    there is one row alone.
    """
    train, rows = whole(context.train), context.rows
    if len(train) < 2:
        raise TrimformerError("A search splits the training rows, and there is one alone: give it more rows.")
    held = drawn_rows(len(train), min(max(1, round(share * len(train))), len(train) - 1), context.seed)
    left = Part(rows, np.setdiff1d(np.arange(len(rows)), held))
    steps = total_steps(len(left), context.training, context.accelerator.num_processes)
    return dataclasses.replace(context, steps=steps, part=left), HeldOut(Part(train, held), context)
