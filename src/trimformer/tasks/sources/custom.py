"""The user's own files: which ones, and which kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ..data import Examples, MissingRows, Task
from ..kinds import KINDS
from ..labels import class_names, shown, spellings
from ..settings import TaskSettings
from ..tables import files, questions
from ..tables.files import DELIMITED, Table, cell_text, ending, read_table
from ..tables.rows import Reading, decide_kind
from ..tables.sets import SEPARATOR
from . import custom_questions, custom_tags, custom_texts
from .custom_groups import grouped, groups_said

ENDINGS = (*files.ENDINGS, *custom_tags.ENDINGS)


class Reader(NamedTuple):
    """How files of one kind are read; with a model's label names, which a validation file is read for."""

    load: Callable[[Path, Path | None, TaskSettings], tuple[Task, Examples, Examples | None]]
    validation: Callable[[Path, TaskSettings, Sequence[str] | None], tuple[Task, Examples]]


READERS: dict[Kind, Reader] = {
    "tokens": Reader(custom_tags.load, custom_tags.load_validation),
    "spans": Reader(custom_questions.load, custom_questions.load_validation),
}
"""Readers of the kinds whose files may be something else than tables of texts."""


def load(settings: TaskSettings, labels: Sequence[str] | None = None) -> tuple[Task, Examples, Examples | None]:
    """The task, its training rows and, if there is a validation file, its rows.

    `labels` are those of a model with a head, as `names_of` gives them: they help to tell classes from numbers. Raises
    TrimformerError for missing files and columns, for labels that do not fit, and for a single class.
    """
    train_file, validation_file = find_files(settings)
    if train_file is None:
        raise MissingRows(
            f"The task has a validation file ({validation_file}) and no training file: set task.train or task.data."
        )
    (kind, why), table = _kind(train_file, settings, labels)
    refuse_unread(settings, kind)
    if table is None:
        task, train, validation = READERS[kind].load(train_file, validation_file, settings)
    else:
        task, train, validation = custom_texts.load(kind, table, validation_file, settings, why)
    train = grouped(train, train_file, settings)
    if validation_file is not None and validation is not None:
        validation = grouped(validation, validation_file, settings)
    return groups_said(task, train, validation), train, validation


def load_validation(settings: TaskSettings, labels: Sequence[str] | None) -> tuple[Task, Examples] | None:
    """The rows of the validation file alone, or None if there is no such file.

    `labels` are those of a model, if known, as `names_of` gives them.
    """
    file = find_files(settings)[1]
    if file is None:
        return None
    (kind, why), table = _kind(file, settings, labels)
    refuse_unread(settings, kind)
    if table is None:
        task, examples = READERS[kind].validation(file, settings, labels)
    else:
        task, examples = custom_texts.load_validation(kind, table, settings, why)
    return task, grouped(examples, file, settings)


def find_files(settings: TaskSettings) -> tuple[Path | None, Path | None]:
    """The training and the validation file; raises TrimformerError if neither is named or there."""
    train = None if settings.train is None else Path(settings.train).expanduser()
    validation = None if settings.validation is None else Path(settings.validation).expanduser()
    if settings.data is not None:
        data = Path(settings.data).expanduser()
        if data.is_dir():
            train = train or _in_folder(data, "train", ENDINGS) or _in_folder(data, "train", files.PLAIN)
            validation = validation or _in_folder(data, "validation", ENDINGS)
            validation = validation or _in_folder(data, "validation", files.PLAIN)
            if train is None and validation is None:
                raise TrimformerError(
                    f"The folder {data} holds no train file: put train.csv, .tsv, .jsonl, .parquet, .conll, .conllu or "
                    ".json there, or name the file."
                )
        elif train is not None:
            raise TrimformerError(
                f"Both task.data ({data}) and task.train ({train}) name a training file: remove one of them."
            )
        elif data.exists():
            train = data
        else:
            raise TrimformerError(f"The path {data} does not exist: set task.data to a folder or a file that does.")
    if train is None and validation is None:
        raise TrimformerError(
            "No data is given: set task.data to a folder or a file, or set task.train, or task.texts where nothing has "
            "a label."
        )
    return train, validation


def _in_folder(folder: Path, split: str, endings: Sequence[str]) -> Path | None:
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.name.startswith(split) and path.name[len(split) :].lower() in endings and path.is_file()
    ]
    if len(found) > 1:
        raise TrimformerError(
            f"The folder {folder} holds both {found[0].name} and {found[1].name}: remove one of them."
        )
    return found[0] if found else None


def _kind(path: Path, settings: TaskSettings, labels: Sequence[str] | None = None) -> tuple[Reading, Table | None]:
    """What is predicted, and the table of texts that the file holds, None for the kinds of `READERS`.

    What the settings leave open is said by the file's ending, its columns, its labels and those of a model. Raises
    TrimformerError where integers may be classes and numbers.
    """
    if settings.kind != "auto":
        return Reading(settings.kind), None if settings.kind in READERS else read_table(path)
    if path.name.lower().endswith(custom_tags.ENDINGS):
        return Reading("tokens"), None
    if questions.is_squad(path):
        return Reading("spans"), None
    table = read_table(path, ENDINGS)
    if settings.text is None and {"tokens", "tags"} <= set(table.names):
        return Reading("tokens"), None
    lists = settings.text or custom_tags.TOKENS, settings.label or custom_tags.TAGS
    if all(_holds(table, column, _is_list) for column in lists):
        return Reading("tokens"), None
    if settings.text is None and {"question", "context"} <= set(table.names):
        return Reading("spans"), None
    label = settings.label or next((name for name in ("label", "answers") if name in table.names), None)
    if label is None:
        raise TrimformerError(
            f"The file {path} has no column 'label': name one of its own ({', '.join(table.names)}) with --label, or "
            "say with --kind what is predicted; where compress trains nothing, --pseudo-labels "
            "takes the model's own answers."
        )
    if _holds(table, label, _is_answer):
        return Reading("spans"), None
    cells = table.column(label)
    if _holds(table, label, _is_list):
        return Reading("multilabel"), table
    if ending(path) in DELIMITED:
        _refuse_hidden_sets(table, cells)
    found = spellings([cell_text(cell) or "" for cell in cells])
    reading = decide_kind(found, labels)
    if reading is None:
        names = class_names(found)
        raise TrimformerError(
            f"The labels in column '{label}' of {path} are {len(names)} different integers ({shown(names)}), which may "
            "be the names of classes (such as zip codes) or numbers, and no head of the model tells which: name --kind "
            "classification or --kind regression."
        )
    return reading, table


def _holds(table: Table, column: str, test: Callable[[object], bool]) -> bool:
    """Whether most cells of this column, if there is one, pass the test."""
    cells = table.column(column) if column in table.names else []
    return 2 * sum(map(test, cells)) > len(cells)


def _is_list(cell: object) -> bool:
    return isinstance(cell, list)


def _is_answer(cell: object) -> bool:
    """The answers to a question: an object, or a list of objects."""
    return isinstance(cell[0] if isinstance(cell, list) and cell else cell, dict)


def _refuse_hidden_sets(table: Table, cells: Sequence[object]) -> None:
    """Refuse to guess whether cells of CSV and TSV that look like several labels are meant so."""
    for row, cell in enumerate(map(str, cells)):
        if SEPARATOR in cell or cell.lstrip().startswith("["):
            raise TrimformerError(
                f"In {table.where(row)}, the label '{cell}' may be one or several: set --kind multilabel, with "
                f"'{SEPARATOR}' between the names, or --kind classification."
            )


def refuse_unread(settings: TaskSettings, kind: Kind) -> None:
    """Refuse settings that files of this kind would silently ignore."""
    defaults, read = TaskSettings(), KINDS[kind].reads
    for field in dict.fromkeys(field for known in KINDS.values() for field in known.reads):
        if field not in read and getattr(settings, field) != getattr(defaults, field):
            raise TrimformerError(
                f"The setting task.{field} has no meaning for {kind}, which these data are read as: remove it, or set "
                "another kind."
            )
