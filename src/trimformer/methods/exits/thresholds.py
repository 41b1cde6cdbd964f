"""The threshold of exits: all of them are tried on rows that train nothing, given what every exit says of every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from ...encoder.model.heads import TrimformerWithHead
from ...measure.cost import flops_by_exit
from ...saved.exits import ANSWERS, ExitShape, exits_of
from ...tasks.data import Task
from ...tasks.encoding.encoded import Encoded
from ...tasks.kinds import KINDS
from ...tasks.metric import metric, within
from ...tasks.outcome import outcome
from ...training.evaluate import predict_logits
from .findings import ExitFindings, ExitPoint

CHUNK = 256
"""Rows whose tokens are laid side by side at a time."""
QUANTILES = 50


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


def where(shape: ExitShape, data: Encoded, logits: Sequence[np.ndarray]) -> np.ndarray:
    """The number of the exit at which each row leaves, (rows,); the number of exits stands for the last head."""
    if not KINDS[data.kind].per_token:
        return exits_of(shape, data.kind, logits)
    found = []
    for first in range(0, len(data), CHUNK):
        lengths = data.lengths[first : first + CHUNK]
        real = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
        tokens = slice(data.offsets[first], data.offsets[first + len(lengths)])
        padded = []
        for own in logits:
            padded.append(np.zeros((*real.shape, own.shape[-1]), dtype=own.dtype))
            padded[-1][real] = own[tokens]
        found.append(exits_of(shape, data.kind, padded, real))
    return np.concatenate(found)


def answered(data: Encoded, logits: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """The logits with which each row leaves."""
    places = np.repeat(places, data.lengths) if KINDS[data.kind].per_token else places
    found: np.ndarray = np.stack(logits)[places, np.arange(len(places))]
    return found


def entropies(data: Encoded, logits: Sequence[np.ndarray]) -> np.ndarray:
    """The thresholds of the rule ``entropy`` that are tried: 0, and what divides the rows at the exits evenly."""
    entropy = ANSWERS[data.kind].entropy
    assert entropy is not None, "check_kind refuses it"
    found = []
    for own in logits[:-1]:
        values = entropy(own.astype(np.float64))
        if KINDS[data.kind].per_token:
            values = np.maximum.reduceat(values, data.offsets[:-1])
        found.append(values.reshape(len(data), -1).max(1))
    # Rounded up, so that the row which a threshold was taken from leaves.
    quantiles = np.ceil(1e4 * np.quantile(np.concatenate(found), np.linspace(0, 1, QUANTILES + 1))) / 1e4
    return np.unique([0.0, *quantiles])


def choose(
    model: TrimformerWithHead,
    shape: ExitShape,
    thresholds: Sequence[float],
    task: Task,
    data: Encoded,
    logits: Sequence[np.ndarray],
    max_drop: float | None,
) -> tuple[ExitShape, ExitFindings]:
    """The exits with the threshold of the fewest operations whose score on these rows is inside the budget.

    thresholds: at one of them no text leaves. logits: of :func:`every_exit`. max_drop: that may be lost, in the unit of
    the metric, beside the score of all layers; None: half a point.
    """
    name = task.metrics[0]
    after = [*(layer + 1 for layer in shape.after), len(model.encoder.layers)]
    flops = np.asarray(flops_by_exit(model.config, max(1, round(float(np.mean(data.lengths)))), type(model)))
    tried: list[tuple[ExitPoint, ExitShape, np.ndarray]] = []
    for threshold in thresholds:
        own = dataclasses.replace(shape, threshold=float(threshold))
        places = where(own, data, logits)
        score = outcome(task, data, answered(data, logits, places)).scores[name]
        layers = np.asarray(after)[places]
        point = ExitPoint(
            threshold=own.threshold, layers=float(layers.mean()), flops=float(flops[places].mean()), score=score
        )
        tried.append((point, own, layers))
    tried.sort(key=lambda one: -one[0].layers)
    full, known = tried[0][0].score, metric(name)
    budget = known.small(full) if max_drop is None else max_drop
    inside = [number for number, (one, *_) in enumerate(tried) if within(known.drop(one.score - full), budget)]
    chosen = min(inside, key=lambda number: tried[number][0].flops)
    _, found, layers = tried[chosen]
    executed = np.bincount(layers, minlength=after[-1] + 1)[1:].tolist()
    return found, ExitFindings(rule=shape.rule, points=[point for point, *_ in tried], chosen=chosen, executed=executed)
