"""The user's own files read for their texts alone, which a model is then asked about."""

from __future__ import annotations

from pathlib import Path

from ...encoder.model.heads import Kind
from ...errors import TrimformerError
from ..data import Examples, Task
from ..kinds import KINDS
from ..settings import TaskSettings
from ..tables.files import ENDINGS, PLAIN, Table, ending, read_table
from ..tables.questions import is_squad
from ..tables.rows import text_column
from .custom import find_files, refuse_unread
from .custom_groups import grouped, groups_said


def texts_alone(settings: TaskSettings) -> bool:
    """Whether labels are not to be read: the settings say so, or the training file has columns of texts alone.

    A file with any other column is taken to have labels, whatever that column is called.
    """
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

    Raises TrimformerError for missing files and columns, for settings that mean nothing here, and for a validation file
    that may have labels where the training file has none.
    """
    if settings.label is not None:
        raise TrimformerError(
            f"The setting task.label names the column '{settings.label}', which task.pseudo_labels leaves unread: "
            "remove one of the two."
        )
    if settings.kind not in ("auto", kind):
        raise TrimformerError(f"The model's head is for {kind}, and task.kind is {settings.kind}: leave it out.")
    refuse_unread(settings, kind)
    train_file, validation_file = find_files(settings)
    if train_file is None:
        raise TrimformerError(
            f"The task has a validation file ({validation_file}) and no training file: set task.train or task.data."
        )
    train = _rows(train_file, settings, kind)
    validation = None if validation_file is None else _rows(validation_file, settings, kind)
    source = f"train: {train_file}, with the dense model's own answers as labels"
    source += "" if validation_file is None else f"; validation: {validation_file}, with the same"
    task = Task("custom", kind, labels, KINDS[kind].agreement(labels, train), source, pseudo_labels=True)
    return groups_said(task, train, validation), train, validation


def _rows(path: Path, settings: TaskSettings, kind: Kind) -> Examples:
    table, (text, pair) = read_table(path, (*ENDINGS, *PLAIN)), KINDS[kind].columns
    text = settings.text or (text if text in table.names else "text")
    pair = settings.text_pair or pair
    others = _others(table, settings)
    if others and not settings.pseudo_labels:
        raise TrimformerError(
            f"The file {path} has more than texts ({', '.join(others)}), and the training file has texts alone: add "
            "labels there, or set task.pseudo_labels, so that none are read."
        )
    texts = _words(table, text) if KINDS[kind].words else text_column(table, text)
    rows = Examples(texts, None if pair is None else text_column(table, pair), [])
    return grouped(rows, path, settings)


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
