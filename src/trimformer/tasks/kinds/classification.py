"""One label per text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ...saved.kinds import IGNORED
from ..data import Examples, Task
from ..encoding.encoded import Encoded
from ..metric import CLASS_F1
from .answers import Prediction
from .base import EACH_F1, Measure
from .probabilities import softmax
from .texts import TextKind


class Classification(TextKind):
    """The label with the largest logit; a single one is that of label 1, and label 0 has 0."""

    name = "classification"
    keeps = "shares"
    answer = Prediction

    def metrics(self, labels: Iterable[str]) -> tuple[str, ...]:
        return "accuracy", "f1_macro"

    def choice(self, labels: Iterable[str]) -> tuple[str, ...]:
        return *_METRICS, EACH_F1

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        return np.asarray([IGNORED if label is None else label for label in examples.labels], dtype=np.int64)

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Prediction]:
        exact = logits.astype(np.float64)
        for row, best in zip(softmax(exact).tolist(), exact.argmax(1).tolist(), strict=True):
            yield Prediction(names[best], row[best], dict(zip(names, row, strict=True)))

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[int]:
        return logits.astype(np.float64).argmax(axis=1).tolist()

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _best(logits), data.labels

    def hits(self, task: Task, answers: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
        return answers == truth if task.metrics[0] == "accuracy" else None

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        equal: np.ndarray = np.equal(_best(exact), _best(other))
        return equal

    def measure(self, task: Task, name: str) -> Measure:
        if name == "f1":
            return lambda answers, truth: _f1_of(answers, truth, task.positive)
        if name.startswith(CLASS_F1):
            wanted = task.labels.index(name.removeprefix(CLASS_F1))
            return lambda answers, truth: _f1_of(answers, truth, wanted)
        return _METRICS[name]


def _best(logits: np.ndarray) -> np.ndarray:
    best: np.ndarray = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
    return best.astype(np.int64)


# Counts of NumPy in place of scikit-learn, which checks its arguments in each of a bootstrap's thousands of calls.


def _accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(predicted == truth))


def _f1_of(predicted: np.ndarray, truth: np.ndarray, wanted: int) -> float:
    """2 hits / (predicted + true) of one class; 0 where it is neither there nor predicted."""
    found, there = predicted == wanted, truth == wanted
    whole = np.count_nonzero(found) + np.count_nonzero(there)
    return float(2 * np.count_nonzero(found & there) / whole) if whole else 0.0


def _f1_macro(predicted: np.ndarray, truth: np.ndarray) -> float:
    """The mean F1 of the classes that are there or predicted."""
    hits, found, there = _counts(predicted, truth)
    whole = found + there
    return float(np.mean(2 * hits[whole > 0] / whole[whole > 0]))


def _balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """The mean share of right answers over the classes that are there."""
    hits, _, there = _counts(predicted, truth)
    return float(np.mean(hits[there > 0] / there[there > 0]))


def _matthews(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Of several classes as Gorodkin ("Comparing two K-category assignments by a K-category correlation coefficient",
    2004) has it; 0 where all answers or all labels are the same.
    """
    hits, found, there = (counted.astype(np.float64) for counted in _counts(predicted, truth))
    n = len(truth)
    spread = (n * n - found @ found) * (n * n - there @ there)
    return float((n * hits.sum() - found @ there) / np.sqrt(spread)) if spread else 0.0


def _counts(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each class: right answers, answers, labels."""
    size = int(max(predicted.max(), truth.max())) + 1
    hits, found, there = (np.bincount(ids, minlength=size) for ids in (truth[predicted == truth], predicted, truth))
    return hits, found, there


_METRICS: dict[str, Measure] = {
    "accuracy": _accuracy,
    "f1_macro": _f1_macro,
    "balanced_accuracy": _balanced_accuracy,
    "matthews": _matthews,
}
