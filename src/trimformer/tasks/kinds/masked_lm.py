"""The tokens that were masked, in plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ...errors import TrimformerError
from ..data import Examples, Task
from ..encoding.encoded import Encoded
from .answers import AnyAnswer, Prediction
from .base import Measure, TaskKind

if TYPE_CHECKING:
    from torch import Tensor


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TrimformerError(
        "A model for masked tokens learns from plain text and answers no questions: name a task of plain text "
        "(task.name: text), or fine-tune the model on labelled rows (trimformer compress)."
    )


class MaskedLM(TaskKind):
    """The most probable token at each masked place. `compare` counts, so that the truth it gives holds nothing.

    What stands for logits are two numbers for each place, for whole logits would be as many as the vocabulary: the
    negative log-likelihood of the token that stood there, and the id of the most probable one.
    """

    name = "masked-lm"
    named = False
    form = "plain-text"
    tokenise = staticmethod(_refuse)
    per_token = True
    reads = ()
    columns = ("text", None)
    answer = Prediction

    def metrics(self, labels: Iterable[str]) -> tuple[str, ...]:
        return tuple(_METRICS)

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, None]:
        return task, None

    def examples(self, rows: Sequence[Any]) -> Examples:
        _refuse()

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        _refuse()

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[AnyAnswer]:
        _refuse()

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[Any]:
        _refuse()

    def condensed(self, logits: Tensor, labels: Tensor) -> Tensor:
        import torch
        from torch.nn import functional as F

        logits = logits.float()
        lost = F.cross_entropy(logits, labels, reduction="none")
        return torch.stack([lost, logits.argmax(-1).float()], -1)

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right places, places and the sum of the losses of each row: float64 (n, 3)."""
        right = logits[:, 1].astype(np.int64) == data.labels
        values = np.stack([right, np.ones(len(right)), logits[:, 0]], axis=1).astype(np.float64)
        sums, ends = np.concatenate([np.zeros((1, 3)), values.cumsum(axis=0)]), data.places.cumsum()
        rows = sums[ends] - sums[ends - data.places]
        return rows, np.zeros(len(rows))

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether the most probable token is the same."""
        if data is None:
            exact, other = exact.argmax(-1), other.argmax(-1)
        else:
            exact, other = exact[:, 1], other[:, 1]
        equal: np.ndarray = np.equal(exact, other)
        return equal

    def measure(self, task: Task, name: str) -> Measure:
        """A metric of the sums of `compare` over the rows; 0 where nothing is masked."""
        return lambda answers, _: _METRICS[name](*answers.sum(axis=0).tolist())


_METRICS: dict[str, Callable[[float, float, float], float]] = {
    "accuracy": lambda right, places, lost: right / places if places else 0.0,
    "loss": lambda right, places, lost: lost / places if places else 0.0,
}
