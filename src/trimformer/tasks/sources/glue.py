"""The GLUE tasks: from their original TSV files, plain or .gz, or from a dataset on the hub."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..data import Examples, MissingRows, Task
from ..tables.files import Table, read_tsv
from ..tables.rows import ClassRows, NumberRows, Rows
from .hub import load_split, local_folder

HUB = "nyu-mll/glue"


@dataclass(frozen=True)
class Glue:
    """One task; `labels` are the hub's, by id.

    The first name of a column or dev file that is there is used. hub: the name there, if it is another.
    """

    folder: str
    labels: tuple[str, ...]
    text: tuple[str, ...]
    pair: tuple[str, ...] = ()
    label: tuple[str, ...] = ("label",)
    metrics: tuple[str, ...] = ("accuracy",)
    dev: tuple[str, ...] = ("dev",)
    hub: str | None = None
    hub_validation: str = "validation"
    header: tuple[str, ...] | None = None
    drop_ragged: bool = False


_ENTAILMENT = ("entailment", "not_entailment")

TASKS = {
    "cola": Glue(
        "CoLA",
        ("unacceptable", "acceptable"),
        text=("sentence",),
        metrics=("matthews",),
        header=("source", "label", "mark", "sentence"),
    ),
    "sst2": Glue("SST-2", ("negative", "positive"), text=("sentence",)),
    "mrpc": Glue(
        "MRPC",
        ("not_equivalent", "equivalent"),
        text=("#1 String", "sentence1"),
        pair=("#2 String", "sentence2"),
        label=("Quality", "label"),
        metrics=("accuracy", "f1"),
    ),
    "stsb": Glue(
        "STS-B",
        (),
        text=("sentence1",),
        pair=("sentence2",),
        label=("score", "label"),
        metrics=("pearson", "spearman"),
    ),
    "qqp": Glue(
        "QQP",
        ("not_duplicate", "duplicate"),
        text=("question1",),
        pair=("question2",),
        label=("is_duplicate", "label"),
        metrics=("accuracy", "f1"),
        # The file as published has a few broken rows, which everybody leaves out.
        drop_ragged=True,
    ),
    "mnli": Glue(
        "MNLI",
        ("entailment", "neutral", "contradiction"),
        text=("sentence1", "premise"),
        pair=("sentence2", "hypothesis"),
        label=("gold_label", "label"),
        dev=("dev_matched", "dev"),
        hub_validation="validation_matched",
    ),
    "qnli": Glue("QNLI", _ENTAILMENT, text=("question",), pair=("sentence",)),
    "rte": Glue("RTE", _ENTAILMENT, text=("sentence1",), pair=("sentence2",)),
    "wnli": Glue("WNLI", ("not_entailment", "entailment"), text=("sentence1",), pair=("sentence2",)),
}
# MNLI has a second dev set, from genres that its training rows do not have.
TASKS["mnli-mm"] = replace(TASKS["mnli"], dev=("dev_mismatched",), hub="mnli", hub_validation="validation_mismatched")


def load(name: str, data: str | None) -> tuple[Task, Examples, Examples]:
    """The task with its training and validation rows; raises TrimformerError where something is missing."""
    train = _split(name, data, "train")
    validation = _split(name, data, "validation")
    dropped = train.table.dropped + validation.table.dropped
    return _task(name, train, dropped), _examples(name, train), _examples(name, validation)


def load_validation(name: str, data: str | None) -> tuple[Task, Examples]:
    """The task with its validation rows alone."""
    rows = _split(name, data, "validation")
    return _task(name, rows, rows.table.dropped), _examples(name, rows)


def _task(name: str, rows: Rows, dropped: int) -> Task:
    glue = TASKS[name]
    source = f"GLUE {glue.folder} from {rows.table.path.parent}"
    if dropped:
        source += f" ({dropped} broken rows left out)"
    return Task(name, "classification" if glue.labels else "regression", glue.labels, glue.metrics, source)


def _examples(name: str, rows: Rows) -> Examples:
    glue = TASKS[name]
    # Files write ids ("0") or names ("entailment"), depending on the task.
    names = {str(i): label for i, label in enumerate(glue.labels)}
    return replace(rows, labels=[names.get(label, label) for label in rows.labels]).as_examples(glue.labels)


def _split(name: str, data: str | None, split: str) -> Rows:
    glue = TASKS[name]
    folder = local_folder(data)
    if folder is not None:
        table = _from_folder(glue, folder, split)
    else:
        hub_split = glue.hub_validation if split == "validation" else split
        table = load_split(data or HUB, glue.hub or name, hub_split, glue.labels)
    pair = _column(table, glue.pair) if glue.pair else None
    rows = ClassRows if glue.labels else NumberRows
    return rows.take(table, _column(table, glue.text), pair, _column(table, glue.label))


def _column(table: Table, candidates: tuple[str, ...]) -> str:
    """The first candidate in the table; if there is none, the first one, for the table to complain about."""
    return next((name for name in candidates if name in table.names), candidates[0])


def _from_folder(glue: Glue, folder: Path, split: str) -> Table:
    stems = ("train",) if split == "train" else glue.dev
    names = [stem + ending for stem in stems for ending in (".tsv", ".tsv.gz")]
    # A parent of all tasks holds no files of its own, only CoLA/, SST-2/ and so on.
    place = folder / glue.folder if (folder / glue.folder).is_dir() else folder
    for name in names:
        if (place / name).is_file():
            return read_tsv(place / name, glue.header, glue.drop_ragged)
    raise MissingRows(
        f"The folder {place} has no {' or '.join(names[::2])} (plain or .gz) for GLUE {glue.folder}: "
        "add the file or set task.data to the folder that holds it."
    )
