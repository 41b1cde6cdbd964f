"""The threshold of exits: all of them are tried on rows that train nothing, given what every exit says of every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..saved.exits import ANSWERS, ExitShape, exits_of
from .data import Task
from .encoding.encoded import Encoded
from .kinds import KINDS
from .metric import metric, within
from .outcome import outcome

CHUNK = 256
"""Rows whose tokens are laid side by side at a time."""
QUANTILES = 50


class Tried(NamedTuple):
    """shape: with the threshold. places: of each row the number of its exit, see :func:`where`. score: of the answers
    there."""

    shape: ExitShape
    places: np.ndarray
    score: float


def tried(shape: ExitShape, task: Task, data: Encoded, logits: Sequence[np.ndarray]) -> list[Tried]:
    """Every threshold of the rule, those at which more rows stay first; at the first one no row leaves.

    logits: of each exit, first exit first, and behind them of the last head; each in the order of the data.
    """
    found = []
    for threshold in thresholds(shape.rule, data, logits):
        own = dataclasses.replace(shape, threshold=float(threshold))
        places = where(own, data, logits)
        found.append(Tried(own, places, outcome(task, data, answered(data, logits, places)).scores[task.metrics[0]]))
    return sorted(found, key=lambda one: -one.places.mean())


def cheapest(found: Sequence[Tried], costs: Sequence[float], task: Task, max_drop: float | None) -> int:
    """The index of the threshold that costs least, of those whose score is inside the budget.

    costs: of a row that leaves at each exit, and at none. max_drop: that may be lost, in the unit of the metric, beside
    the score of the first, at which no row leaves; None: half a point.
    """
    full, known = found[0].score, metric(task.metrics[0])
    budget = known.small(full) if max_drop is None else max_drop
    inside = [number for number, one in enumerate(found) if within(known.drop(one.score - full), budget)]
    return min(inside, key=lambda number: np.asarray(costs)[found[number].places].mean())


def thresholds(rule: str, data: Encoded, logits: Sequence[np.ndarray]) -> Sequence[float]:
    """Those of a rule that are tried; at one of them no row leaves."""
    if rule == "patience":
        return range(1, len(logits))
    found: Sequence[float] = entropies(data, logits).tolist()
    return found


def entropies(data: Encoded, logits: Sequence[np.ndarray]) -> np.ndarray:
    """0, and the thresholds of the rule ``entropy`` that divide the rows at the exits evenly."""
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
