"""Several labels per text, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..data import Examples, Task
from ..encoding.encoded import Encoded
from ..metric import CLASS_F1
from .answers import Labels
from .base import EACH_F1, Measure
from .probabilities import sigmoid
from .texts import TextKind


class Multilabel(TextKind):
    """Every label with a logit above 0. Answers and truth are bool (n, labels)."""

    name = "multilabel"
    answer = Labels

    def metrics(self, labels: Iterable[str]) -> tuple[str, ...]:
        return tuple(_METRICS)

    def choice(self, labels: Iterable[str]) -> tuple[str, ...]:
        return *_METRICS, EACH_F1

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        """1 where an example has a label, else 0, NaN where it has no labels to learn from: float32 (n, labels)."""
        matrix = np.zeros((len(examples), len(task.labels)), dtype=np.float32)
        for row, ids in enumerate(examples.labels):
            if ids is None:
                matrix[row] = np.nan
            else:
                matrix[row, list(ids)] = 1
        return matrix

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Labels]:
        for row in sigmoid(logits.astype(np.float64)).tolist():
            scores = dict(zip(names, row, strict=True))
            yield Labels([name for name, score in scores.items() if score >= 0.5], scores)

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[tuple[int, ...]]:
        return [tuple(np.flatnonzero(row > 0).tolist()) for row in logits]

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return logits > 0, data.labels.astype(bool)

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether a text has the same set of labels."""
        equal: np.ndarray = np.equal(exact > 0, other > 0)
        every: np.ndarray = np.all(equal, axis=1)
        return every

    def measure(self, task: Task, name: str) -> Measure:
        """F1 over all decisions; the mean F1 of the labels, or that of one (0 for a label that is neither there nor
        predicted); the share of examples with every label right.
        """
        if name.startswith(CLASS_F1):
            wanted = task.labels.index(name.removeprefix(CLASS_F1))
            return lambda answers, truth: _f1_micro(answers[:, wanted], truth[:, wanted])
        return _METRICS[name]


# Counts of NumPy in place of scikit-learn, which checks its arguments in each of a bootstrap's thousands of calls.


def _f1_micro(predicted: np.ndarray, truth: np.ndarray) -> float:
    whole = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return float(2 * np.count_nonzero(predicted & truth) / whole) if whole else 0.0


def _f1_macro(predicted: np.ndarray, truth: np.ndarray) -> float:
    whole = predicted.sum(axis=0) + truth.sum(axis=0)
    return float(np.mean(2 * (predicted & truth).sum(axis=0) / np.maximum(whole, 1)))


def _accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float((predicted == truth).all(axis=1).mean())


_METRICS: dict[str, Measure] = {"f1_micro": _f1_micro, "f1_macro": _f1_macro, "accuracy": _accuracy}
