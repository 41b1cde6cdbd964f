"""The user's own files read for their texts alone, which a model is then asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ..data import Examples, Task, called, joined
from ..kinds import KINDS
from ..settings import TaskSettings
from ..tables.files import ENDINGS, PLAIN, Table, ending, read_table
from ..tables.questions import is_squad
from ..tables.rows import text_column
from .custom import find_files, refuse_unread
from .custom_groups import grouped, groups_said


def texts_alone(settings: TaskSettings) -> bool:
    """Whether labels are not to be read: the settings say so, or the training file has columns of texts alone.

    A file with any other column is taken to have labels, whatever that column is called, but for files that are named
    as texts.
    """
    if settings.name == "custom" and settings.texts is not None and settings.train is None and settings.data is None:
        return True
    if settings.name != "custom" or settings.label is not None:
        return settings.pseudo_labels
    path = find_files(settings)[0]
    if settings.pseudo_labels or path is None:
        return settings.pseudo_labels
    if f".{ending(path)}" not in (*ENDINGS, *PLAIN) or is_squad(path):
        return False
    return not _others(read_table(path), settings)


def load(settings: TaskSettings, kind: Kind, labels: tuple[str, ...]) -> tuple[Task, Examples, Examples | None]:
    """The task with these labels; its training rows and, if there is a validation file, those of that, all without
    labels.

    Of a validation file that has labels no rows are read. Raises TrimformerError for missing files and columns, and for
    settings that mean nothing here.
    """
    if settings.label is not None and settings.pseudo_labels:
        raise TrimformerError(
            f"The setting task.label names the column '{settings.label}', which task.pseudo_labels leaves unread: "
            "remove one of the two."
        )
    if settings.kind not in ("auto", kind):
        raise TrimformerError(f"The model's head is for {kind}, and task.kind is {settings.kind}: leave it out.")
    refuse_unread(settings, kind)
    files, validation_file = _files(settings)
    if not files:
        raise TrimformerError(
            f"The task has a validation file ({validation_file}) and no training file: set task.train, task.data or "
            "task.texts."
        )
    train = joined([_rows(file, settings, kind) for file in files])
    source = f"train: {', '.join(map(str, files))}, with the dense model's own answers as labels"
    task = Task("custom", kind, labels, KINDS[kind].agreement(labels, train), source, pseudo_labels=True)
    if validation_file is None or has_labels(validation_file, settings):
        return groups_said(task, train, None), train, None
    validation = _rows(validation_file, settings, kind)
    task = replace(task, source=f"{source}; validation: {validation_file}, with the same")
    return groups_said(task, train, validation), train, validation


def labelled_validation(settings: TaskSettings) -> Path | None:
    """The validation file, if it has labels that are to be read, so that the final test is on them."""
    file = _files(settings)[1]
    return file if file is not None and has_labels(file, settings) else None


def has_labels(path: Path, settings: TaskSettings) -> bool:
    """Whether a file has more than texts, which are then labels, unless the settings leave them unread."""
    if settings.pseudo_labels:
        return False
    if f".{ending(path)}" not in (*ENDINGS, *PLAIN) or is_squad(path):
        return True
    return bool(_others(read_table(path, (*ENDINGS, *PLAIN)), settings))


def _files(settings: TaskSettings) -> tuple[list[Path], Path | None]:
    """Those of the texts, and the validation file."""
    named = settings.data is not None or settings.train is not None or settings.validation is not None
    train, validation = find_files(settings) if named or settings.texts is None else (None, None)
    return [*([] if train is None else [train]), *text_files(settings)], validation


def unseen(train: Examples, validation: Examples, kind: Kind) -> tuple[Examples, list[str]]:
    """The training rows that are no validation rows, and how many were left out as a note.

    Raises TrimformerError where no row is left.
    """
    known = set(validation.keys())
    kept = [row for row, key in enumerate(train.keys()) if key not in known]
    if not kept:
        raise TrimformerError(
            f"All {len(train):,} training {called(kind)} are validation {called(kind)}, too, so that there is nothing "
            "to learn from: name other texts, or leave out the validation file, so that rows are split off for it."
        )
    if len(kept) == len(train):
        return train, []
    left, rows = len(train) - len(kept), called(kind)
    said = f"{left:,} of {len(train):,} training {rows} were left out, which are validation {rows}, too."
    return train.take(kept), [said]


def text_files(settings: TaskSettings) -> list[Path]:
    """The files that are named as texts."""
    return [Path(file).expanduser() for file in settings.texts or []]


def texts_of(path: Path, settings: TaskSettings, kind: Kind) -> Examples:
    """The texts of a file without labels and groups."""
    table, (text, pair) = read_table(path, (*ENDINGS, *PLAIN)), KINDS[kind].columns
    text = settings.text or (text if text in table.names else "text")
    text = "text" if ending(path) == "txt" else text  # the only column, whatever that of tables is called
    pair = settings.text_pair or pair
    texts = _words(table, text) if KINDS[kind].words else text_column(table, text)
    return Examples(texts, None if pair is None else text_column(table, pair), [])


def _rows(path: Path, settings: TaskSettings, kind: Kind) -> Examples:
    if kind == "embedding" and settings.text_pair is not None:
        names = read_table(path, (*ENDINGS, *PLAIN)).names
        if settings.text_pair not in names:  # the columns that are named are those of the scored couples
            settings = settings.model_copy(update={"text": None, "text_pair": None})
    return grouped(texts_of(path, settings, kind), path, settings)


def _words(table: Table, column: str) -> list[tuple[str, ...]]:
    """Sentences that are lists of words, or words with white space between them, as `predict` takes them."""
    sentences = []
    for row, cell in enumerate(table.column(column)):
        words = cell.split() if isinstance(cell, str) else cell
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise TrimformerError(
                f"In {table.where(row)}, the column '{column}' holds no words: write a list of them, or a text, or "
                "remove the row."
            )
        sentences.append(tuple(words))
    return sentences


def _others(table: Table, settings: TaskSettings) -> list[str]:
    """The columns that are neither texts nor groups."""
    usual = [] if settings.text else [name for kind in KINDS.values() for name in kind.columns]
    texts = {settings.text, settings.text_pair, settings.group, *usual}
    return [name for name in table.names if name not in texts]
