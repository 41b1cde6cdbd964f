"""From the tags of the data to label ids, and from those to the ids of a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from ...errors import TrimformerError
from ..data import Examples, Task
from ..tables.iob import is_span_tagging
from ..tables.rows import class_names, match_labels, number
from ..tables.tagged import Tagged

SPAN_METRICS = ("f1", "precision", "recall", "accuracy")
PLAIN_METRICS = ("accuracy",)


def label_names(tags: Iterable[str]) -> tuple[str, ...]:
    """Sorted names; for spans O first, then B-X and I-X for every X, whether both occur or not."""
    tags = set(tags)
    if not is_span_tagging(tags):
        return class_names(sorted(tags))
    kinds = {tag[2:] for tag in tags if tag != "O"}
    return ("O", *sorted(f"{mark}-{kind}" for mark in "BI" for kind in kinds))


def from_train(
    name: str, source: str, train: Tagged, validation: Tagged | None
) -> tuple[Task, Examples, Examples | None]:
    """The task with the labels of the training sentences, and the rows of both.

    Raises TrimformerError if there is a single tag, or one in validation that train does not know.
    """
    tags = train.tags()
    if len(tags) == 1:
        raise TrimformerError(
            f"{train.path}: every word has the same tag ({next(iter(tags))}), so there is nothing to learn; "
            "add sentences with another tag"
        )
    task = _task(name, label_names(tags), source)
    ids = {label: i for i, label in enumerate(task.labels)}
    return task, train.as_examples(ids), None if validation is None else validation.as_examples(ids)


def from_validation(name: str, source: str, tagged: Tagged, labels: Sequence[str] | None) -> tuple[Task, Examples]:
    """The task and the rows of validation sentences alone, with the ids of `labels`, a model's names by id, if given.

    Raises TrimformerError for a tag that the model does not know.
    """
    tags = tagged.tags()
    names = label_names(tags)
    task = _task(name, names, source)
    ids = np.arange(len(names))
    if labels is not None:
        known = {label.casefold() for label in labels}
        if any(tag.casefold() in known for tag in tags):
            tagged.require(sorted(tag for tag in tags if tag.casefold() in known))
        task, ids = relabel(task, labels, {i for i, name in enumerate(names) if name in tags})
    return task, tagged.as_examples(dict(zip(names, ids.tolist(), strict=True)))


def relabel(task: Task, labels: Sequence[str], used: Collection[int]) -> tuple[Task, np.ndarray]:
    """The task with the ids of a model whose label names by id are `labels`, and the new id int64 by old id.

    used: the ids that occur in the data; a model need not know both B-X and I-X where only one of them does, and the
    other one's new id is -1. The data's own names stay, because the metrics read types of spans from them. Raises
    TrimformerError if the names differ.
    """
    own = [task.labels[i] for i in sorted(used)]
    # The order of a model's outputs cannot be told from that of the tags, which depends on those that occur.
    found = match_labels(own, labels, ordered=False)
    names = list(labels)
    for i, name in zip(found, own, strict=True):
        if number(name) is None:
            names[i] = name
    ids = np.full(len(task.labels), -1, dtype=np.int64)
    ids[sorted(used)] = found
    return replace(task, labels=tuple(names), metrics=_metrics([names[i] for i in found])), ids


def _task(name: str, labels: tuple[str, ...], source: str) -> Task:
    return Task(name, "tokens", labels, _metrics(labels), source)


def _metrics(labels: Iterable[str]) -> tuple[str, ...]:
    return SPAN_METRICS if is_span_tagging(labels) else PLAIN_METRICS
