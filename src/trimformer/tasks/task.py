"""Load a task: its kind, labels and metrics, and its rows in three parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import TrimformerError
from ..saved.kinds import Kind
from .data import Examples, Task, TaskData, called, did_you_mean
from .doubts import data_notes
from .kinds import KINDS
from .settings import TaskSettings
from .sources import beside, conll, custom, glue, imdb, plain, sentiment, squad, unlabelled
from .split import Keep, held_rows, sample, split


class Source(NamedTuple):
    """Where a task's rows come from, and which of the settings that not every task has it reads.

    load: all rows, read for a model with these label names, if it has a head.
    validation: the rows to report on alone, which are read for a model with these label names, if any are given;
    None where they have to be split off from train.
    """

    load: Callable[[TaskSettings, Sequence[str] | None], tuple[Task, Examples, Examples | None]]
    validation: Callable[[TaskSettings, Sequence[str] | None], tuple[Task, Examples] | None]
    reads: tuple[str, ...]


_GLUE = Source(
    lambda settings, _: glue.load(settings.name, settings.data),
    lambda settings, _: glue.load_validation(settings.name, settings.data),
    ("data", "truncation"),
)
_TREEBANK = Source(lambda settings, _: conll.load(settings), conll.load_validation, ("data", "truncation"))
_TAGS = _TREEBANK._replace(reads=("data", "tags", "scheme", "truncation"))
OF_PLAIN_TEXT = ("packed", "pairs", "unit", "masked", "whole_words")
NOT_EVERYWHERE = (
    *("data", "train", "validation", "text", "text_pair", "label", "kind"),
    *OF_PLAIN_TEXT,
    *("tags", "scheme", "truncation", "stride", "group", "pseudo_labels"),
)
SOURCES = {
    **dict.fromkeys(glue.TASKS, _GLUE),
    "stsb": _GLUE._replace(reads=(*_GLUE.reads, "kind")),
    "imdb": Source(
        lambda settings, _: imdb.load(settings),
        lambda settings, _: imdb.load_validation(settings),
        ("data", "truncation"),
    ),
    "conll2003": _TAGS,
    "ud": _TAGS,
    "treebank": _TREEBANK,
    "squad": Source(
        lambda settings, _: squad.load(settings),
        lambda settings, _: squad.load_validation(settings),
        ("data", "stride"),
    ),
    "sentiment": Source(lambda *_: sentiment.load(), lambda *_: None, ("truncation",)),
    "text": Source(plain.refuse, plain.refuse, ("validation", "text", *OF_PLAIN_TEXT)),
    "custom": Source(
        custom.load,
        custom.load_validation,
        tuple(name for name in NOT_EVERYWHERE if name not in OF_PLAIN_TEXT),
    ),
}
NAMES = tuple(SOURCES)
AUTOMATIC_VALIDATION = 0.15
REMEDIES: dict[tuple[Kind, Kind], str] = {
    ("regression", "classification"): "; --kind regression reads numbers",
    ("classification", "multilabel"): (
        '; if it was trained for several labels, write "problem_type": "multi_label_classification" into its '
        "config.json"
    ),
}
"""Of a head for one kind beside data of another: what may be meant."""
UNLABELLED_ROWS = 4000
"""Of training rows without labels, from which nothing is learned: more would only be waited for."""


def load_task(
    settings: TaskSettings, seed: int = 0, labels: Sequence[str] | None = None, *, distils: bool = False
) -> TaskData:
    """Read the data and split train into train and selection (stratified, by `seed`).

    Where there is no validation file, 15 % of train become the validation rows, the same ones for every seed,
    so that runs with different seeds are scored on the same examples. `train_limit` counts train and
    selection. `labels` are those of a model with a head, as `names_of` gives them; ids do not follow them. `distils`:
    whether something learns from the dense model, and so from the texts beside the labelled rows. Raises
    TrimformerError for everything that is wrong with the settings or the data.
    """
    check_settings(settings)
    _refuse_unlabelled(settings, distils)
    task, train, validation = SOURCES[settings.name].load(settings, labels)
    task = _as_asked(task, settings)
    kind = KINDS[task.kind]
    task, keep = kind.scored_by(task, settings.metric), kind.keep(train)
    task, train, validation = _drawn(task, train, validation, settings, seed, keep)
    notes = data_notes(task, validation, train)
    train, selection = split(train, held_rows(len(train), settings.selection), seed, keep=keep)
    if kind.keeps == "shares" and len(set(train.labels)) < 2:
        raise TrimformerError("All training rows left have the same label: raise task.train_limit or add rows.")
    kind.check_parts(task, {"training": train, "selection": selection, "validation": validation})
    data = TaskData(task, train, selection, validation, tuple(notes))
    return beside.with_texts(data, settings) if settings.texts else data


def load_texts(
    settings: TaskSettings, kind: Kind, labels: Sequence[str], seed: int = 0, *, learns: bool = True
) -> TaskData:
    """As `load_task`, the texts alone, which a model with such a head and these label names is then asked about.

    A validation file that has labels is read with these, for the final test. What is in a validation file is not
    learned from. Rows are drawn without regard to classes, for nobody knows them yet. learns: whether something is
    learned from the training rows; if nothing is, at most 4000 of them stay, unless `train_limit` is set.
    """
    check_settings(settings)
    named = tuple(labels) if KINDS[kind].named else ()
    task, train, validation = unlabelled.load(settings, kind, named)
    if (file := unlabelled.labelled_validation(settings)) is not None:
        found, validation = load_validation(settings.read_for(kind).model_copy(update={"texts": None}), labels)
        check_kind(found, kind, "The model")
        source = f"{task.source}; validation: {file}, with its labels"
        task = replace(task, labels=found.labels, metrics=found.metrics, source=source, labelled_validation=True)
    task, keep = KINDS[kind].scored_by(task, settings.metric), KINDS[kind].keep(train)
    keep = None if keep == "shares" else keep
    train, notes = (train, []) if validation is None else unlabelled.unseen(train, validation, kind)
    task, train, validation = _drawn(task, train, validation, settings, seed, keep)
    train, selection = split(train, held_rows(len(train), settings.selection), seed, keep=keep)
    left = len(train) - UNLABELLED_ROWS
    if settings.train_limit is None and left > 0 and not learns:
        train = sample(train, UNLABELLED_ROWS, seed)
        notes.append(f"{left:,} training {called(kind)} were left out, from which nothing is learned (--train-limit).")
    return TaskData(task, train, selection, validation, tuple(notes))


def labelled(data: TaskData, answer: Callable[[Task, Examples], Examples]) -> TaskData:
    """The data of `load_texts`, each part that has no labels with what `answer` gives of it; raises TrimformerError as
    `load_task`.
    """
    train, selection, validation = (
        part if part.labels else answer(data.task, part) for part in (data.train, data.selection, data.validation)
    )
    parts = {"training": train, "selection": selection, "validation": validation}
    KINDS[data.task.kind].check_parts(data.task, parts)
    return replace(data, train=train, selection=selection, validation=validation)


def load_validation(settings: TaskSettings, labels: Sequence[str] | None = None) -> tuple[Task, Examples]:
    """The task and the rows that `load_task` reports on, without need for training rows.

    `labels` are a model's label names by id, as `names_of` gives them; ids then follow them (see `with_label_order`).
    """
    check_settings(settings)
    _refuse_unlabelled(settings)
    found = SOURCES[settings.name].validation(settings, labels)
    if found is None:
        data = load_task(settings, labels=labels)
        data = data if labels is None else with_label_order(data, labels)
        return data.task, data.validation
    task, examples = found
    task = _as_asked(task, settings)
    task = KINDS[task.kind].scored_by(task, settings.metric)
    if labels is None:
        return task, examples
    task, ids = KINDS[task.kind].relabel(task, labels, [examples])
    return task, _remapped(examples, ids)


def with_label_order(data: TaskData, labels: Sequence[str]) -> TaskData:
    """The same data with the ids of `labels`, a model's label names by id.

    Names are compared as `match_labels` says. A model may know more labels than the data. Where labels have no names
    nothing changes. Raises TrimformerError if the names differ.
    """
    task, ids = KINDS[data.task.kind].relabel(data.task, labels, [data.train, data.selection, data.validation])
    train, selection, validation = (_remapped(part, ids) for part in (data.train, data.selection, data.validation))
    return replace(data, task=task, train=train, selection=selection, validation=validation)


def check_kind(task: Task, kind: Kind, model: str) -> None:
    """Raise TrimformerError where a model's head is for another kind than the task, which has the ids of the model."""
    if task.kind != kind and not (task.one_output and kind == "regression"):
        remedy = REMEDIES.get((kind, task.kind), "")
        raise TrimformerError(f"{model} has a head for {kind}, but the task is {task.kind}{remedy}.")


def _drawn(
    task: Task, train: Examples, validation: Examples | None, settings: TaskSettings, seed: int, keep: Keep | None
) -> tuple[Task, Examples, Examples]:
    """The rows to report on, split off where there is no file of them, and of the others as many as there may be."""
    if validation is None:
        share = round(len(train) * AUTOMATIC_VALIDATION)
        train, validation = split(train, share, seed=0, keep=keep)
        task = replace(task, source=f"{task.source}; validation: {len(validation)} of its rows, split off")
    if settings.train_limit is not None and settings.train_limit < len(train):
        shares = bool(train.labels) and KINDS[task.kind].keeps == "shares"
        train = sample(train, settings.train_limit, seed, keep="shares" if shares else None)
    return task, train, validation


def _as_asked(task: Task, settings: TaskSettings) -> Task:
    """The task as couples for embedding models, where a named one is asked for as such."""
    if settings.kind in ("auto", task.kind) or settings.name == "custom":
        return task
    if settings.kind != "embedding":
        raise TrimformerError(f"The task {task.name} is regression or embedding, and task.kind is {settings.kind}.")
    return replace(task, kind="embedding", metrics=KINDS["embedding"].metrics(()))


def _refuse_unlabelled(settings: TaskSettings, distils: bool = False) -> None:
    if settings.pseudo_labels:
        raise TrimformerError(
            "The setting task.pseudo_labels takes the dense model's own answers, which only a compression has: remove "
            "it."
        )
    if settings.texts and not distils and settings.name != "text":  # whose own refusal says more
        raise TrimformerError(
            "The setting task.texts names rows without labels, from which only what distils from the dense model "
            "learns, and nothing does so here: give a stage an objective with such a term (logits), or remove it."
        )


def check_settings(settings: TaskSettings) -> None:
    """Refuse unknown names, and settings that the named task would silently ignore."""
    if settings.name not in NAMES:
        raise TrimformerError(
            f"The setting task.name is '{settings.name}', which is not a task: name one of {', '.join(NAMES)}."
            f"{did_you_mean(settings.name, NAMES)}"
        )
    reads, defaults = SOURCES[settings.name].reads, TaskSettings()
    for field in NOT_EVERYWHERE:
        if field not in reads and getattr(settings, field) != getattr(defaults, field):
            remedy = "" if field in ("tags", *OF_PLAIN_TEXT) else " or set name: custom"
            raise TrimformerError(f"The setting task.{field} has no meaning for {settings.name}: remove it{remedy}.")


def _remapped(examples: Examples, ids: np.ndarray | None) -> Examples:
    if ids is None:
        return examples
    new = ids.tolist()
    labels = [new[old] if isinstance(old, int) else tuple(new[i] for i in old) for old in examples.labels]
    return replace(examples, labels=labels)
