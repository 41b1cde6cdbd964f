"""What a kind of task owns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ..data import Examples, Task, did_you_mean
from ..encoding.encoded import Encoded
from ..labels import composed, shown
from ..metric import CLASS_F1
from ..split import Keep
from .answers import AnyAnswer

if TYPE_CHECKING:
    from torch import Tensor

Measure = Callable[[np.ndarray, np.ndarray], float]
"""(answers, truth), both with one row per example -> one number."""

EACH_F1 = f"{CLASS_F1}CLASS"
"""In lists of metrics: the F1 of any class."""


class TaskKind(ABC):
    """How rows become tokens and labels, how a model's outputs become answers, and how these are scored.

    Logits have the shape (rows, labels), or (tokens, labels), laid end to end, where `per_token`.
    """

    name: ClassVar[Kind]
    form: ClassVar[str]
    """The form of its rows, part of the names of cached files: kinds of one form share their tokens."""
    tokenise: ClassVar[Callable[..., dict[str, np.ndarray]]]
    """(examples, tokenizer, max_length) -> arrays of an `Encoded`; also truncation and stride, where it reads them."""
    per_token: ClassVar[bool]
    """Whether a model answers for every token."""
    reads: ClassVar[tuple[str, ...]]
    """The settings that it reads among those that not every kind has."""
    columns: ClassVar[tuple[str, str | None]]
    """What the columns of rows to predict are called; None where no second text is needed."""
    one_text: ClassVar[bool] = False
    """Whether it answers for one text alone, beside which a second one means nothing."""
    named: ClassVar[bool] = True
    """Whether its labels have names."""
    words: ClassVar[bool] = False
    """Whether a text is a list of words."""
    keeps: ClassVar[Keep | None] = None
    """What a split of its rows keeps, where they have no groups."""
    answer: ClassVar[type[AnyAnswer]]
    """The class of its answers."""

    @abstractmethod
    def metrics(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The names of the metrics of a user's own data with these labels, the score first."""

    def agreement(self, labels: Iterable[str], rows: Examples) -> tuple[str, ...]:
        """The names of the metrics where the truth is a model's own answers to these rows."""
        return self.metrics(labels)

    def choice(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The names of all metrics that there are with these labels; ``f1:CLASS`` stands for one of each class."""
        return self.metrics(labels)

    def scored_by(self, task: Task, name: str | None) -> Task:
        """The task with this metric as its score; None: as it is.

        Raises TrimformerError for a metric or a class that it does not have.
        """
        if name is None:
            return task
        name = composed(name)
        choice = tuple(dict.fromkeys([*task.metrics, *self.choice(task.labels)]))
        wanted = name.removeprefix(CLASS_F1)
        if name.startswith(CLASS_F1) and EACH_F1 in choice:
            if wanted not in task.labels:
                raise TrimformerError(
                    f"The setting task.metric is '{name}', but {task.name} has no class '{wanted}': its classes are "
                    f"{shown(task.labels)}.{did_you_mean(wanted, task.labels)}"
                )
        elif name not in choice:
            raise TrimformerError(
                f"The setting task.metric is '{name}', which {task.name} ({self.name}) does not have: use one of "
                f"{', '.join(choice)}.{did_you_mean(name, choice)}"
            )
        return replace(task, metrics=tuple(dict.fromkeys([name, *task.metrics])), chosen=name)

    @abstractmethod
    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, np.ndarray | None]:
        """The task with a model's label names, and the new id by old id, None where there are no labels.

        parts: all rows of the task. Raises TrimformerError if the names differ.
        """

    @abstractmethod
    def examples(self, rows: Sequence[Any]) -> Examples:
        """Rows to predict, as examples without labels; raises TrimformerError for rows of another form."""

    @abstractmethod
    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        """The labels of an `Encoded` with these arrays; of rows whose label is None, IGNORED or NaN."""

    @abstractmethod
    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[AnyAnswer]:
        """One answer for each example. names: of the model's labels, by id."""

    @abstractmethod
    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[Any]:
        """The answers as the labels of `Examples`: with these a model that gives them is right everywhere."""

    def condensed(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What is kept of a batch's logits to score them: all, unless there are too many."""
        return logits

    @abstractmethod
    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(answers, truth), one row per example, as the metrics take them."""

    @abstractmethod
    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Which answers of two forms of a model are the same, bool, one for each answer.

        exact: logits in fp32. data: None where the logits are not those of rows, so that all of them count.
        """

    @abstractmethod
    def measure(self, task: Task, name: str) -> Measure:
        """One metric of the task, as a fraction (0..1) where it is one."""

    def hits(self, task: Task, answers: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
        """Whether each answer is right, bool (n,), where the first metric is the share of those; None elsewhere."""
        return None

    def check_parts(self, task: Task, parts: dict[str, Examples]) -> None:
        """Refuse to choose by the F1 of a class that a part has no row of: no answer would change it there.

        parts: by what messages call their rows.
        """
        name = task.metrics[0].removeprefix(CLASS_F1)
        if name == task.metrics[0] or name not in task.labels:
            return
        wanted = task.labels.index(name)
        rows = {
            part: sum(wanted in label if isinstance(label, tuple) else label == wanted for label in examples.labels)
            for part, examples in parts.items()
        }
        if not all(rows.values()):
            counts = ", ".join(f"{count} {part}" for part, count in rows.items())
            raise TrimformerError(
                f"The metric {task.metrics[0]} needs rows of that class in every part of the data, and there are "
                f"{counts} rows: add rows of it, raise task.selection, or choose another metric, such as f1_macro."
            )

    def keep(self, examples: Examples) -> Keep | None:
        """What a split of these rows keeps."""
        return self.keeps if examples.groups is None else "groups"

    def groups(self, examples: Examples) -> list[str] | None:
        """What each example belongs to with others; None: nothing."""
        return examples.groups

    def scores(self, task: Task, answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """All metrics of the task, `task.metrics[0]` first."""
        if len(answers) != len(truth):
            raise ValueError(f"{len(answers)} predictions for {len(truth)} labels")
        return {name: self.measure(task, name)(answers, truth) for name in task.metrics}

    def metric(self, task: Task) -> Measure:
        """The first metric of the task, for the thousands of calls of a paired bootstrap."""
        return self.measure(task, task.metrics[0])
