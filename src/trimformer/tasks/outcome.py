"""What a model's outputs on a split are worth: the answers, one per example, and the official scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import TrimformerError
from .data import Task
from .encoding.encoded import Encoded
from .kinds import KINDS


@dataclass(frozen=True)
class Outcome:
    """Scores of one model on one split, and what a paired test needs.

    scores: each metric of the task, the official one first. answers, truth: one row per example, so that
    ``metric(answers[rows], truth[rows])`` is the official metric on these examples. For tokens and spans the
    answers are counts, compared with the truth already, of which the metric is a function of their sum.
    hits: whether each answer is right, where the official metric is the share of those; None elsewhere. groups: equal
    where examples belong together; None: each stands alone.
    """

    scores: dict[str, float]
    answers: np.ndarray
    truth: np.ndarray
    metric: Callable[[np.ndarray, np.ndarray], float]
    hits: np.ndarray | None = None
    groups: np.ndarray | None = None


def outcome(task: Task, data: Encoded, logits: np.ndarray) -> Outcome:
    """Score logits in the order of the data: (rows, labels), or (tokens, labels) for tokens and spans.

    Raises TrimformerError if a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise TrimformerError(
            f"The model's outputs on {task.name} are not all finite numbers: "
            "lower the learning rate or train in full precision; if nothing was trained yet, take another copy of the "
            "checkpoint."
        )
    kind = KINDS[task.kind]
    answers, truth = kind.compare(task, data, logits)
    hits, groups = kind.hits(task, answers, truth), kind.groups(data.examples)
    numbers = None if groups is None else np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]
    return Outcome(kind.scores(task, answers, truth), answers, truth, kind.metric(task), hits, numbers)
