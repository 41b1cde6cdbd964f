"""What a model's outputs on a split are worth: the answers, one per example, and the official scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import TrimformerError
from .data import Task
from .encode import Encoded
from .kinds import classification as metrics
from .kinds import multilabel, spans
from .kinds import tokens as tagging


@dataclass(frozen=True)
class Outcome:
    """Scores of one model on one split, and what a paired test needs.

    scores: each metric of the task, the official one first. answers, truth: one row per example, so that
    ``metric(answers[rows], truth[rows])`` is the official metric on these examples. For tokens and spans the
    answers are counts, compared with the truth already, of which the metric is a function of their sum.
    """

    scores: dict[str, float]
    answers: np.ndarray
    truth: np.ndarray
    metric: Callable[[np.ndarray, np.ndarray], float]


def outcome(task: Task, data: Encoded, logits: np.ndarray) -> Outcome:
    """Score logits in the order of the data: (rows, labels), or (tokens, labels) for tokens and spans.

    Raises TrimformerError if a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise TrimformerError(
            f"the model's outputs on {task.name} are not all finite numbers; "
            "lower the learning rate or train in full precision"
        )
    if task.kind == "tokens":
        counts = tagging.counts(task, data, tagging.tags(data, logits))
        return Outcome(tagging.scores(task, counts), counts, np.zeros(len(counts)), tagging.metric(task))
    if task.kind == "spans":
        counts = spans.counts(data, spans.answers(data, logits))
        return Outcome(spans.scores(task, counts), counts, np.zeros(len(counts)), spans.metric(task))
    truth = np.asarray(data.labels)
    if task.kind == "multilabel":
        chosen, truth = logits > 0, truth.astype(bool)
        return Outcome(multilabel.scores(task, chosen, truth), chosen, truth, multilabel.metric(task))
    predicted = metrics.predictions(task, logits)
    return Outcome(metrics.score(task, predicted, truth), predicted, truth, metrics.metric_function(task))
