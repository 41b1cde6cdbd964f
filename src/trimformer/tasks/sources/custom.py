"""The user's own files: which ones, which columns, which kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import TrimformerError
from ..data import Examples, Kind, Task
from ..kinds.multilabel import METRICS as MULTILABEL_METRICS
from ..kinds.multilabel import SEPARATOR, SetRows, take_set_rows
from ..settings import TaskSettings
from ..tables import files, questions
from ..tables.files import DELIMITED, Table, cell_text, ending, read_table
from ..tables.rows import FEW_INTEGERS, Rows, class_names, decide_kind, shown, take_rows
from . import custom_tags, squad

METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "f1_macro"),
    "multilabel": MULTILABEL_METRICS,
    "regression": ("pearson", "spearman", "mse"),
}

_TEXTS = ("text_pair", "truncation")
READS: dict[Kind, tuple[str, ...]] = {
    "classification": _TEXTS,
    "multilabel": _TEXTS,
    "regression": _TEXTS,
    "tokens": ("tags", "scheme"),
    "spans": ("text_pair", "stride"),
}
"""Of the settings that not every kind has, those that it reads."""

ENDINGS = (*files.ENDINGS, *custom_tags.ENDINGS, *questions.ENDINGS)


def load(settings: TaskSettings) -> tuple[Task, Examples, Examples | None]:
    """The task, its training rows and, if there is a validation file, its rows.

    Raises TrimformerError for missing files and columns, for labels that do not fit, and for a single class.
    """
    train_file, validation_file = find_files(settings)
    if train_file is None:
        raise TrimformerError(f"task: only a validation file ({validation_file}) is given; set train or data as well")
    kind, table = _kind(train_file, settings)
    _check(settings, kind)
    if kind == "tokens":
        return custom_tags.load_custom(train_file, validation_file, settings)
    if table is None:
        return squad.load_custom(train_file, validation_file, settings)
    rows = _rows(table, settings, kind)
    source = f"train: {train_file}"
    if validation_file is not None:
        source += f"; validation: {validation_file}"
    task = _task(rows, settings, kind, source)
    _check_variety(rows, task)
    validation = None
    if validation_file is not None:
        validation = _examples(_rows(read_table(validation_file), settings, kind), task)
    return task, _examples(rows, task), validation


def load_validation(settings: TaskSettings, labels: Sequence[str] | None) -> tuple[Task, Examples] | None:
    """The rows of the validation file alone, or None if there is no such file.

    `labels` are those of a model, if known: a single one means regression.
    """
    file = find_files(settings)[1]
    if file is None:
        return None
    kind, table = _kind(file, settings, labels)
    _check(settings, kind)
    if kind == "tokens":
        return custom_tags.load_custom_validation(file, settings, labels)
    if table is None:
        return squad.load_custom_validation(file, settings)
    rows = _rows(table, settings, kind)
    task = _task(rows, settings, kind, f"validation: {file}")
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
                    f"{data} holds no train file; put train.csv, .tsv, .jsonl, .parquet, .conll, .conllu or .json "
                    "there, or name the file"
                )
        elif train is not None:
            raise TrimformerError(f"task.data ({data}) and task.train ({train}) both name a training file; remove one")
        elif data.exists():
            train = data
        else:
            raise TrimformerError(f"{data} does not exist; set task.data to a folder or a file that does")
    if train is None and validation is None:
        raise TrimformerError("task: no data is given; set data to a folder or a file, or set train")
    return train, validation


def _in_folder(folder: Path, split: str) -> Path | None:
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.name.startswith(split) and path.name[len(split) :].lower() in ENDINGS and path.is_file()
    ]
    if len(found) > 1:
        raise TrimformerError(f"{folder} holds both {found[0].name} and {found[1].name}; remove one of them")
    return found[0] if found else None


def _kind(path: Path, settings: TaskSettings, labels: Sequence[str] | None = None) -> tuple[Kind, Table | None]:
    """What is predicted, and the table that the file holds, None for tokens and spans, which have readers of their own.

    What the settings leave open is said by the file's ending, its columns, its labels and those of a model.
    """
    if settings.kind in ("tokens", "spans"):
        return settings.kind, None
    if settings.kind != "auto":
        return settings.kind, read_table(path)
    if path.name.lower().endswith(custom_tags.ENDINGS):
        return "tokens", None
    if path.name.lower().endswith(questions.ENDINGS):
        return "spans", None
    table = read_table(path, ENDINGS)
    if settings.text is None and {"tokens", "tags"} <= set(table.names):
        return "tokens", None
    lists = settings.text or custom_tags.TOKENS, settings.label or custom_tags.TAGS
    if all(_holds(table, column, _is_list) for column in lists):
        return "tokens", None
    if settings.text is None and {"question", "context"} <= set(table.names):
        return "spans", None
    label = settings.label or next((name for name in ("label", "answers") if name in table.names), None)
    if label is None:
        raise TrimformerError(
            f"{path} has no column 'label'; name one of its own ({', '.join(table.names)}) with --label, or say with "
            "--kind what is predicted"
        )
    if _holds(table, label, _is_answer):
        return "spans", None
    cells = table.column(label)
    if _holds(table, label, _is_list):
        return "multilabel", table
    if ending(path) in DELIMITED:
        _refuse_hidden_sets(table, cells)
    if labels:
        return ("regression" if len(labels) == 1 else "classification"), table
    return decide_kind([cell_text(cell) or "" for cell in cells]), table


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
                f"{table.where(row)}: the label '{cell}' may be one or several; set --kind multilabel, with "
                f"'{SEPARATOR}' between the names, or --kind classification"
            )


def _check(settings: TaskSettings, kind: Kind) -> None:
    """Refuse settings that files of this kind would silently ignore."""
    defaults = TaskSettings()
    for field in ("text_pair", "tags", "scheme", "truncation", "stride"):
        if field not in READS[kind] and getattr(settings, field) != getattr(defaults, field):
            raise TrimformerError(
                f"task.{field} has no meaning for {kind}, which these data are read as; remove it, or set another kind"
            )


def _rows(table: Table, settings: TaskSettings, kind: Kind) -> Rows | SetRows:
    take = take_set_rows if kind == "multilabel" else take_rows
    return take(table, settings.text or "text", settings.text_pair, settings.label or "label")


def _task(rows: Rows | SetRows, settings: TaskSettings, kind: Kind, source: str) -> Task:
    names: tuple[str, ...] = ()
    if isinstance(rows, SetRows):
        names = class_names([name for labels in rows.labels for name in labels])
    elif kind == "classification":
        names = class_names(rows.labels)
    elif settings.kind == "auto":
        source += f" (labels read as numbers, because they are not at most {FEW_INTEGERS} different integers)"
    return Task("custom", kind, names, METRICS[kind], source)


def _examples(rows: Rows | SetRows, task: Task) -> Examples:
    if isinstance(rows, SetRows):
        return rows.as_sets(task.labels)
    return rows.as_classes(task.labels) if task.kind == "classification" else rows.as_numbers()


def _check_variety(rows: Rows | SetRows, task: Task) -> None:
    """Refuse training rows from which nothing can be learned."""
    if isinstance(rows, SetRows) and len(task.labels) < 2:
        found = f"only one label ({task.labels[0]}) occurs" if task.labels else "no row has a label"
        raise TrimformerError(
            f"{rows.table.path}: {found}, and several labels per text need at least two; add rows, or "
            "write one name per row for kind: classification"
        )
    if len(set(rows.labels)) == 1:
        same = rows.labels[0] if isinstance(rows, Rows) else shown(rows.labels[0])
        raise TrimformerError(
            f"{rows.table.path}: every row has the same label ({same}), so there is "
            "nothing to learn; add rows with another label"
        )
