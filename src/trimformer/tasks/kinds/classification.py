"""One label per text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.special import softmax
from sklearn.metrics import f1_score, matthews_corrcoef

from ..data import Examples, Task
from ..encoding.encoded import Encoded
from .answers import Prediction
from .base import Metric
from .texts import TextKind


class Classification(TextKind):
    """The label with the largest logit."""

    name = "classification"
    keeps = "shares"
    answer = Prediction

    def metrics(self, labels: Iterable[str]) -> tuple[str, ...]:
        return "accuracy", "f1_macro"

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        return np.asarray(examples.labels, dtype=np.int64)

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Prediction]:
        exact = logits.astype(np.float64)
        for row, best in zip(softmax(exact, axis=1).tolist(), exact.argmax(1).tolist(), strict=True):
            yield Prediction(names[best], row[best], dict(zip(names, row, strict=True)))

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return logits.astype(np.float64).argmax(axis=1), data.labels

    def hits(self, task: Task, answers: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
        return answers == truth if task.metrics[0] == "accuracy" else None

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        equal: np.ndarray = np.equal(exact.argmax(axis=1), other.argmax(axis=1))
        return equal

    def measure(self, task: Task, name: str) -> Metric:
        if name == "f1":
            return lambda answers, truth: _f1(answers == task.positive, truth == task.positive)
        return _METRICS[name]


def _accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(predicted == truth))


def _f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(f1_score(truth, predicted, zero_division=0))


def _f1_macro(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(f1_score(truth, predicted, average="macro", zero_division=0))


def _matthews(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(matthews_corrcoef(truth, predicted))


_METRICS: dict[str, Metric] = {"accuracy": _accuracy, "f1_macro": _f1_macro, "matthews": _matthews}
