"""The plain values that a loaded task is made of."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import TrimformerError
from ..saved.kinds import Kind
from .metric import Metric, metric


class MissingRows(TrimformerError):
    """There is no file with the training rows of a task, or none with those to report on."""


@dataclass(frozen=True)
class Task:
    """What is predicted and how it is scored.

    `labels` holds the names by id, () where they have none; `metrics[0]` is the score. `positive` is the id that binary
    F1 looks for. `chosen` is the score that was asked for, None where it is the usual one. `note` says what
    was taken for granted about a model's outputs, where it has the ids of one. `one_output`: the model's only output is
    the score of label 1 against label 0. `pseudo_labels`: the labels are the dense model's own answers (Lee, 2013), so
    that scores are agreement with it. `labelled_validation`: those of the validation rows are the user's all the same.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    source: str
    positive: int = 1
    chosen: str | None = None
    note: str = ""
    one_output: bool = False
    pseudo_labels: bool = False
    labelled_validation: bool = False

    @property
    def metric(self) -> Metric:
        """The score, which decides."""
        return metric(self.metrics[0])


class GoldAnswer(NamedTuple):
    """A right answer in its context: `context[start : start + len(text)] == text`."""

    text: str
    start: int


@dataclass(frozen=True)
class Examples:
    """Rows of one split. What they hold depends on the kind of the task:

    ================  ======================  ================  ==========================================
    kind              texts                   pairs             labels
    ================  ======================  ================  ==========================================
    classification    the text                second text       label id
    multilabel        the text                second text       tuple of label ids, in order, may be ()
    regression        the text                second text       number
    ranking           the query               the text          relevance, a number from 0 to 1
    tokens            tuple of words          None              tuple of label ids, one per word
    spans             the question            the context       tuple of right answers (`GoldAnswer`), >= 1
    embedding         the text                None              a teacher's vector, float32 (size,)
    embedding         the text                second text       number
    ================  ======================  ================  ==========================================

    labels: empty where the rows have none, as those that a model is only asked about; None for a row that has none
    among others that have.
    groups: what each row belongs to, where the user's data say so; rows of one group stay together.
    """

    texts: list[Any]
    pairs: list[str] | None
    labels: list[Any]
    groups: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def keys(self) -> list[tuple[Any, str | None]]:
        """What a model reads of each row: equal ones are the same question, blanks at the ends aside."""
        pairs = [None] * len(self) if self.pairs is None else map(_stripped, self.pairs)
        return list(zip(map(_stripped, self.texts), pairs, strict=True))

    def take(self, indices: Sequence[int]) -> Examples:
        """The rows at these indices, in this order."""
        pairs, groups = (
            None if column is None else [column[i] for i in indices] for column in (self.pairs, self.groups)
        )
        labels = [self.labels[i] for i in indices] if self.labels else []
        return Examples([self.texts[i] for i in indices], pairs, labels, groups)


@dataclass(frozen=True)
class TaskData:
    """`train` to learn from, `selection` to choose by, `validation` to report; no row is in two of them.

    notes: what is doubtful about the rows, in sentences. unlabelled: rows without labels beside them, to distil with.
    """

    task: Task
    train: Examples
    selection: Examples
    validation: Examples
    notes: tuple[str, ...] = ()
    unlabelled: Examples | None = None


def joined(parts: Sequence[Examples]) -> Examples:
    """The rows of all parts, which have the same columns, one part after the other."""
    columns = ([getattr(part, name) for part in parts] for name in ("texts", "pairs", "labels", "groups"))
    texts, pairs, labels, groups = (
        None if column[0] is None else [value for values in column for value in values] for column in columns
    )
    assert texts is not None
    assert labels is not None
    return Examples(texts, pairs, labels, groups)


def _stripped(text: Any) -> Any:
    return text.strip() if isinstance(text, str) else text


def called(kind: Kind) -> str:
    """What rows of this kind are called in messages."""
    return {"tokens": "sentences", "spans": "questions"}.get(kind, "texts")


def did_you_mean(word: str, options: Sequence[str]) -> str:
    """' Did you mean ...?' with the nearest option, for the end of a message; '' where none is near."""
    lowered = {option.lower(): option for option in options}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    return f" Did you mean '{lowered[near[0]]}'?" if near else ""
