"""The official metrics of classification and regression, each as a fraction (0..1), from scikit-learn and scipy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from ..data import Task

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(predictions, labels), both of shape (n,) -> one number."""


def score(task: Task, predicted: np.ndarray, labels: Sequence[int] | Sequence[float] | np.ndarray) -> dict[str, float]:
    """All metrics of the task, `task.metrics[0]` first; all but mse are better when higher."""
    truth = np.asarray(labels)
    if predicted.shape != truth.shape:
        raise ValueError(f"{len(predicted)} predictions for {len(truth)} labels")
    return {name: _metric(task, name)(predicted, truth) for name in task.metrics}


def predictions(task: Task, logits: np.ndarray) -> np.ndarray:
    """Label ids (n,) by the largest logit, for regression the values (n,) in float64.

    `logits` has shape (n, labels), for regression (n, 1) or (n,).
    """
    logits = np.asarray(logits, dtype=np.float64)
    if task.kind == "regression":
        return logits.reshape(len(logits))
    return logits.argmax(axis=1)


def metric_function(task: Task) -> Metric:
    """The first metric of the task on (predictions, labels), for a paired bootstrap."""
    return _metric(task, task.metrics[0])


def _metric(task: Task, name: str) -> Metric:
    if name == "f1":
        return lambda predicted, labels: _f1(predicted == task.positive, labels == task.positive)
    return _METRICS[name]


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predicted == labels))


def _f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(f1_score(labels, predicted, zero_division=0))


def _f1_macro(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(f1_score(labels, predicted, average="macro", zero_division=0))


def _matthews(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(matthews_corrcoef(labels, predicted))


def _pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
    return 0.0 if _constant(predicted, labels) else float(stats.pearsonr(predicted, labels).statistic)


def _spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
    return 0.0 if _constant(predicted, labels) else float(stats.spearmanr(predicted, labels).statistic)


def _mse(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean((predicted - labels) ** 2))


def _constant(predicted: np.ndarray, labels: np.ndarray) -> bool:
    """A correlation with a constant is undefined; it counts as 0, because such a model knows nothing."""
    return bool(np.ptp(predicted) == 0 or np.ptp(labels) == 0)


_METRICS: dict[str, Metric] = {
    "accuracy": _accuracy,
    "f1_macro": _f1_macro,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
    "mse": _mse,
}
