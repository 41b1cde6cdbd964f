"""The user's own files: which ones, which columns, which kind of task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Kind, Task
from trimformer.tasks.files import ENDINGS, read_table
from trimformer.tasks.rows import FEW_INTEGERS, Rows, class_names, decide_kind, shown, take_rows
from trimformer.tasks.settings import TaskSettings


def load(settings: TaskSettings) -> tuple[Task, Examples, Examples | None]:
    """The task, its training rows and, if there is a validation file, its rows.

    Raises TrimformerError for missing files and columns, for labels that do not fit, and for a single class.
    """
    train_file, validation_file = find_files(settings)
    if train_file is None:
        raise TrimformerError(f"task: only a validation file ({validation_file}) is given; set train or data as well")
    rows = _read(train_file, settings)
    kind = decide_kind(rows.labels) if settings.kind == "auto" else settings.kind
    names = class_names(rows.labels) if kind == "classification" else ()
    if len(set(rows.labels)) == 1:
        raise TrimformerError(
            f"{train_file}: every row has the same label ({shown(rows.labels[:1])}), so there is "
            "nothing to learn; add rows with another label"
        )
    source = f"train: {train_file}"
    if validation_file is not None:
        source += f"; validation: {validation_file}"
    task = _task(kind, names, source + _reading(settings, kind))
    validation = None if validation_file is None else _examples(_read(validation_file, settings), task)
    return task, _examples(rows, task), validation


def load_validation(settings: TaskSettings, labels: Sequence[str] | None) -> tuple[Task, Examples] | None:
    """The rows of the validation file alone, or None if there is no such file.

    `labels` are those of a model, if known: a single one means regression.
    """
    file = find_files(settings)[1]
    if file is None:
        return None
    rows = _read(file, settings)
    kind: Kind
    if settings.kind != "auto":
        kind = settings.kind
    elif labels:
        kind = "regression" if len(labels) == 1 else "classification"
    else:
        kind = decide_kind(rows.labels)
    names = class_names(rows.labels) if kind == "classification" else ()
    task = _task(kind, names, f"validation: {file}{_reading(settings, kind)}")
    return task, _examples(rows, task)


def find_files(settings: TaskSettings) -> tuple[Path | None, Path | None]:
    """The training and the validation file; raises TrimformerError if neither is named or there."""
    train = None if settings.train is None else Path(settings.train).expanduser()
    validation = None if settings.validation is None else Path(settings.validation).expanduser()
    if settings.data is not None:
        data = Path(settings.data).expanduser()
        if data.is_dir():
            train = train or _in_folder(data, "train")
            validation = validation or _in_folder(data, "validation")
            if train is None and validation is None:
                raise TrimformerError(
                    f"{data} holds no train file; put train.csv, .tsv, .jsonl or .parquet there, or name the file"
                )
        elif data.exists():
            train = train or data
        else:
            raise TrimformerError(f"{data} does not exist; set task.data to a folder or a file that does")
    if train is None and validation is None:
        raise TrimformerError("task: no data is given; set data to a folder or a file, or set train")
    return train, validation


def _in_folder(folder: Path, split: str) -> Path | None:
    found = [path for ending in ENDINGS if (path := folder / (split + ending)).is_file()]
    if len(found) > 1:
        raise TrimformerError(f"{folder} holds both {found[0].name} and {found[1].name}; remove one of them")
    return found[0] if found else None


def _read(path: Path, settings: TaskSettings) -> Rows:
    table = read_table(path)
    return take_rows(table, settings.text or "text", settings.text_pair, settings.label or "label")


def _examples(rows: Rows, task: Task) -> Examples:
    return rows.as_classes(task.labels) if task.kind == "classification" else rows.as_numbers()


def _task(kind: Kind, names: tuple[str, ...], source: str) -> Task:
    metrics = ("accuracy", "f1_macro") if kind == "classification" else ("pearson", "spearman", "mse")
    return Task("custom", kind, names, metrics, source)


def _reading(settings: TaskSettings, kind: Kind) -> str:
    if settings.kind == "auto" and kind == "regression":
        return f" (labels read as numbers, because they are not at most {FEW_INTEGERS} different integers)"
    return ""
