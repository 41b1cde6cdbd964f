"""The task of tagged sentences: its labels are the tags that occur."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...errors import TrimformerError
from ..data import Examples, Task
from ..kinds import KINDS
from ..labels import class_names, composed, span_marks
from ..tables.tagged import Tagged


def label_names(tags: Iterable[str]) -> tuple[str, ...]:
    """Sorted names; for spans O first, then B-X and I-X (and the other marks) for every X, whether all occur or not."""
    tags = set(tags)
    marks = span_marks(tags)
    if marks is None:
        return class_names(sorted(tags))
    kinds = {tag[2:] for tag in tags if tag != "O"}
    return ("O", *sorted(f"{mark}-{kind}" for mark in marks for kind in kinds))


def from_train(
    name: str, source: str, train: Tagged, validation: Tagged | None
) -> tuple[Task, Examples, Examples | None]:
    """The task with the labels of the training sentences, and the rows of both.

    Raises TrimformerError if there is a single tag, or one in validation that train does not know.
    """
    tags = train.tags()
    if len(tags) == 1:
        raise TrimformerError(
            f"Every word of {train.path} has the same tag ({next(iter(tags))}), so there is nothing to learn: "
            "add sentences with another tag."
        )
    task = _task(name, label_names(tags), source)
    return task, _examples(task, train), None if validation is None else _examples(task, validation)


def from_validation(name: str, source: str, tagged: Tagged, labels: Sequence[str] | None) -> tuple[Task, Examples]:
    """The task with the labels of validation sentences alone, and their rows.

    Raises TrimformerError, with the line, for a tag that is not among `labels`, a model's names, where others are.
    """
    tags = tagged.tags()
    if labels is not None:
        folded = {composed(label).casefold() for label in labels}
        if known := sorted(tag for tag in tags if tag.casefold() in folded):
            tagged.require([*known, *labels])
    task = _task(name, label_names(tags), source)
    return task, _examples(task, tagged)


def _task(name: str, labels: tuple[str, ...], source: str) -> Task:
    return Task(name, "tokens", labels, KINDS["tokens"].metrics(labels), source)


def _examples(task: Task, tagged: Tagged) -> Examples:
    return tagged.as_examples({label: i for i, label in enumerate(task.labels)})
