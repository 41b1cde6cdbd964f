"""Load a task: its kind, labels and metrics, and its rows in three parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trimformer.errors import TrimformerError
from trimformer.tasks import conll, custom, glue, imdb, sentiment, squad
from trimformer.tasks.data import Examples, Task, TaskData, did_you_mean
from trimformer.tasks.rows import match_labels
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.split import held_rows, split

__all__ = ["Examples", "Task", "TaskData", "load_task", "load_validation", "with_label_order"]

TAGGING = ("conll2003", "ud", "treebank")
NAMES = (*glue.TASKS, "imdb", *TAGGING, "squad", "sentiment", "custom")
AUTOMATIC_VALIDATION = 0.15


def load_task(settings: TaskSettings, seed: int = 0) -> TaskData:
    """Read the data and split train into train and selection (stratified, by `seed`).

    Where there is no validation file, 15 % of train become the validation rows, the same ones for every seed,
    so that runs with different seeds are scored on the same examples. `train_limit` counts train and
    selection. Raises TrimformerError for everything that is wrong with the settings or the data.
    """
    _check(settings)
    task, train, validation = _load(settings)
    if validation is None:
        share = round(len(train) * AUTOMATIC_VALIDATION)
        train, validation = split(train, share, task.kind, seed=0)
        task = replace(task, source=f"{task.source}; validation: {len(validation)} of its rows, split off")
    if settings.train_limit is not None and settings.train_limit < len(train):
        train = split(train, settings.train_limit, task.kind, seed)[1]
    train, selection = split(train, held_rows(len(train), settings.selection), task.kind, seed)
    if task.kind == "classification" and len(set(train.labels)) < 2:
        raise TrimformerError("task: all training rows left have the same label; raise train_limit or add rows")
    return TaskData(task, train, selection, validation)


def load_validation(settings: TaskSettings, labels: Sequence[str] | None = None) -> tuple[Task, Examples]:
    """The task and the rows that `load_task` reports on, without need for training rows.

    `labels` are a model's label names by id; ids then follow them (see `with_label_order`).
    """
    _check(settings)
    found: tuple[Task, Examples] | None
    if settings.name in glue.TASKS:
        found = glue.load_validation(settings.name, settings.data)
    elif settings.name in TAGGING:
        found = conll.load_validation(settings, labels)
    elif settings.name == "imdb":
        found = imdb.load_validation(settings)
    elif settings.name == "squad":
        found = squad.load_validation(settings)
    else:
        found = custom.load_validation(settings, labels) if settings.name == "custom" else None
    if found is None:
        data = load_task(settings)
        found = data.task, data.validation
    task, examples = found
    if labels is None:
        return task, examples
    ids = _new_ids(task, labels)
    return _renamed(task, labels, ids), _remapped(examples, ids)


def with_label_order(data: TaskData, labels: Sequence[str]) -> TaskData:
    """The same data with the ids of `labels`, a model's label names by id.

    Names are compared whatever their case. A model may know more labels than the data. Plain numbers and
    transformers' placeholders (LABEL_0) name nothing, so there ids stay as they are. Regression is unchanged.
    Raises TrimformerError if the names differ.
    """
    ids = _new_ids(data.task, labels)
    return TaskData(
        _renamed(data.task, labels, ids),
        _remapped(data.train, ids),
        _remapped(data.selection, ids),
        _remapped(data.validation, ids),
    )


def _load(settings: TaskSettings) -> tuple[Task, Examples, Examples | None]:
    if settings.name == "sentiment":
        return sentiment.load()
    if settings.name == "custom":
        return custom.load(settings)
    if settings.name in TAGGING:
        return conll.load(settings)
    if settings.name == "imdb":
        return imdb.load(settings)
    if settings.name == "squad":
        return squad.load(settings)
    return glue.load(settings.name, settings.data)


def _check(settings: TaskSettings) -> None:
    """Refuse unknown names, and settings that the named task would silently ignore."""
    if settings.name not in NAMES:
        raise TrimformerError(
            f"task.name: '{settings.name}' is no task (known: {', '.join(NAMES)}){did_you_mean(settings.name, NAMES)}"
        )
    if settings.name == "custom":
        own = ["tags"]
    else:
        own = ["train", "validation", "text", "text_pair", "label", "kind"]
        own += ["data"] if settings.name == "sentiment" else []
        own += ["tags"] if settings.name not in ("conll2003", "ud") else []
        own += ["scheme"] if settings.name != "conll2003" else []
        own += ["truncation"] if settings.name in (*TAGGING, "squad") else []
        own += ["stride"] if settings.name != "squad" else []
    defaults = TaskSettings()
    ignored = [field for field in own if getattr(settings, field) != getattr(defaults, field)]
    if ignored:
        raise TrimformerError(
            f"task.{ignored[0]} has no meaning for {settings.name}, which brings its own; remove it or set name: custom"
        )


def _new_ids(task: Task, labels: Sequence[str]) -> np.ndarray | None:
    """New id by old id, or None for regression."""
    if task.kind == "spans":
        return None
    if task.kind == "regression":
        if len(labels) > 1:
            raise TrimformerError(
                f"{task.name} has numbers as labels, but the model has {len(labels)} classes; "
                "set kind: classification or choose a model with one output"
            )
        return None
    return np.asarray(match_labels(task.labels, labels), dtype=np.int64)


def _renamed(task: Task, labels: Sequence[str], ids: np.ndarray | None) -> Task:
    if ids is None:
        return task
    positive = int(ids[task.positive]) if task.positive < len(ids) else task.positive
    return replace(task, labels=tuple(labels), positive=positive)


def _remapped(examples: Examples, ids: np.ndarray | None) -> Examples:
    if ids is None:
        return examples
    new = ids.tolist()
    labels = [new[old] if isinstance(old, int) else tuple(new[i] for i in old) for old in examples.labels]
    return replace(examples, labels=labels)
