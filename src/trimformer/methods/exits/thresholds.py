"""The threshold of the exits of a model in PyTorch, chosen by the operations that it saves."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from ...encoder.model.heads import TrimformerWithHead
from ...measure.cost import flops_by_exit
from ...saved.exits import ExitShape
from ...tasks.data import Task
from ...tasks.encoding.encoded import Encoded
from ...tasks.exits import cheapest, tried
from ...training.evaluate import predict_logits
from .findings import ExitFindings, ExitPoint


class EveryExit(nn.Module):
    """A model that gives what all of its exits and the last head say, side by side: (…, heads * labels)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, **batch: Any) -> Any:
        out = self.model(**batch, output_exits=True)
        return SimpleNamespace(logits=torch.cat([*out.exit_logits, out.logits], -1))


def every_exit(model: nn.Module, data: Encoded, heads: int) -> list[np.ndarray]:
    """The logits of the exits, first exit first, and behind them of the last head; each as predict_logits gives it."""
    return np.split(predict_logits(EveryExit(model), data), heads, axis=-1)


def choose(
    model: TrimformerWithHead, shape: ExitShape, task: Task, data: Encoded, logits: Sequence[np.ndarray]
) -> tuple[ExitShape, ExitFindings]:
    """The exits with the threshold of the fewest operations whose score on these rows is inside the budget.

    logits: of :func:`every_exit`.
    """
    after = np.asarray([*(layer + 1 for layer in shape.after), len(model.encoder.layers)])
    flops = np.asarray(flops_by_exit(model.config, max(1, round(float(np.mean(data.lengths)))), type(model)))
    found = tried(shape, task, data, logits)
    chosen = cheapest(found, flops.tolist(), task, shape.max_drop)
    points = [
        ExitPoint(
            threshold=one.shape.threshold,
            layers=float(after[one.places].mean()),
            flops=float(flops[one.places].mean()),
            score=one.score,
        )
        for one in found
    ]
    executed = np.bincount(after[found[chosen].places], minlength=after[-1] + 1)[1:].tolist()
    return found[chosen].shape, ExitFindings(rule=shape.rule, points=points, chosen=chosen, executed=executed)
