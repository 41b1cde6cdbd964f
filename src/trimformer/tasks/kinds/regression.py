"""One number per text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import numpy as np

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ..data import Examples, Task
from ..encoding.encoded import Encoded
from .answers import Prediction
from .base import Measure
from .texts import TextKind

ROUNDING = 5e-6
"""Share of the largest number by which runtimes differ in fp32."""
CLOSE = 0.2
"""Standard deviations by which two numbers may differ and are still the same answer.

An int8 file that lost nothing (the demo encoder on generated ratings, Pearson 0.911 for 0.910) had 68 % of its numbers
within 0.05, 94 % within 0.1 and all within 0.2.
"""


class Regression(TextKind):
    """The only logit."""

    name: ClassVar[Kind] = "regression"
    named = False
    answer = Prediction

    def metrics(self, labels: Iterable[str]) -> tuple[str, ...]:
        return "pearson", "spearman", "mse"

    def choice(self, labels: Iterable[str]) -> tuple[str, ...]:
        return tuple(_METRICS)

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, None]:
        """A number has no name; raises TrimformerError for a model with several outputs."""
        if len(labels) > 1:
            raise TrimformerError(
                f"The labels of {task.name} are numbers, but the model has {len(labels)} classes: "
                "set kind: classification or choose a model with one output."
            )
        return task, None

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        return np.asarray(examples.labels, dtype=np.float32)

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Prediction]:
        for (number,) in logits.astype(np.float64).tolist():
            yield Prediction(None, number, {})

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[float]:
        return logits.astype(np.float64)[:, 0].tolist()

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return logits.astype(np.float64).reshape(len(logits)), data.labels

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether numbers differ by at most `CLOSE` standard deviations of those in fp32, or by what is rounding."""
        first, second = (logits.astype(np.float64).reshape(len(logits)) for logits in (exact, other))
        rounding = ROUNDING * np.abs(first).max()
        equal: np.ndarray = np.less_equal(np.abs(first - second), CLOSE * first.std() + rounding)
        return equal

    def measure(self, task: Task, name: str) -> Measure:
        return _METRICS[name]


def pearson(predicted: np.ndarray, truth: np.ndarray) -> float:
    from scipy import stats  # who only predicts has no SciPy

    return 0.0 if _constant(predicted, truth) else float(stats.pearsonr(predicted, truth).statistic)


def spearman(predicted: np.ndarray, truth: np.ndarray) -> float:
    from scipy import stats

    return 0.0 if _constant(predicted, truth) else float(stats.spearmanr(predicted, truth).statistic)


def _mse(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((predicted - truth) ** 2))


def _rmse(predicted: np.ndarray, truth: np.ndarray) -> float:
    return _mse(predicted, truth) ** 0.5


def _mae(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(np.abs(predicted - truth)))


def _constant(predicted: np.ndarray, truth: np.ndarray) -> bool:
    """A correlation with a constant is undefined; it counts as 0, because such a model knows nothing."""
    return bool(np.ptp(predicted) == 0 or np.ptp(truth) == 0)


_METRICS: dict[str, Measure] = {
    "pearson": pearson,
    "spearman": spearman,
    "mae": _mae,
    "rmse": _rmse,
    "mse": _mse,
}
