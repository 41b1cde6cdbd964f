"""The user's own tables of texts, with one label, several labels or a number each."""

from __future__ import annotations

from pathlib import Path

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ..data import Examples, Task
from ..kinds import KINDS
from ..settings import TaskSettings
from ..tables.files import Table, read_table
from ..tables.rows import ClassRows, NumberRows, RelevanceRows, Rows
from ..tables.sets import SetRows

ROWS: dict[Kind, type[Rows]] = {
    "classification": ClassRows,
    "multilabel": SetRows,
    "regression": NumberRows,
    "ranking": RelevanceRows,
    "embedding": NumberRows,
}


def load(
    kind: Kind, table: Table, validation: Path | None, settings: TaskSettings, why: str
) -> tuple[Task, Examples, Examples | None]:
    """The task with the labels of the training table; its rows and, if there is a validation file, those of that.

    why: labels are of this kind, for the source; empty where it is plain. Raises TrimformerError for missing columns,
    for labels that do not fit, and for a single class.
    """
    rows = _rows(kind, table, settings)
    source = f"train: {table.path}{_note(table)}"
    held = None if validation is None else read_table(validation)
    if held is not None:
        source += f"; validation: {validation}{_note(held)}"
    task = _task(kind, rows, source, why)
    rows.check_variety()
    others = None if held is None else _rows(kind, held, settings).as_examples(task.labels)
    return task, rows.as_examples(task.labels), others


def load_validation(kind: Kind, table: Table, settings: TaskSettings, why: str) -> tuple[Task, Examples]:
    """The task with the labels of the validation table alone, and its rows."""
    rows = _rows(kind, table, settings)
    task = _task(kind, rows, f"validation: {table.path}{_note(table)}", why)
    return task, rows.as_examples(task.labels)


def _note(table: Table) -> str:
    return f" ({table.note})" if table.note else ""


def _rows(kind: Kind, table: Table, settings: TaskSettings) -> Rows:
    text, label = settings.text or "text", settings.label or "label"
    if label in (text, settings.text_pair):
        raise TrimformerError(
            f"The column '{label}' of {table.path} is named as a text and as the label, so that the text would give "
            "the answer away: set task.text, task.text_pair and task.label to different columns."
        )
    if text == settings.text_pair:
        raise TrimformerError(
            f"The column '{text}' of {table.path} is named as both texts of a pair: set task.text and task.text_pair "
            "to different columns, or leave the second out."
        )
    if kind == "embedding" and settings.text_pair is None:
        raise TrimformerError(
            f"An embedding model is scored on couples of texts, and only the column '{text}' of {table.path} is named "
            "as a text: set task.text_pair (--text-pair) to the other one, or give texts without labels."
        )
    if kind == "ranking" and settings.text_pair is None:
        raise TrimformerError(
            f"A reranker scores a text for a query, and only the column '{text}' of {table.path} is named as a text: "
            "set task.text to the query and task.text_pair (--text-pair) to the other one."
        )
    return ROWS[kind].take(table, text, settings.text_pair, label)


def _task(kind: Kind, rows: Rows, source: str, why: str) -> Task:
    names = rows.names()
    source = f"{source} ({why})" if why else source
    return Task("custom", kind, names, KINDS[kind].metrics(names), source)
