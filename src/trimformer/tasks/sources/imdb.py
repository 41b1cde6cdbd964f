"""IMDB film reviews (Maas et al., 2011): from the folder aclImdb, from TSV files, or from a dataset on the hub.

IMDB has no dev set: the test half is the validation that is reported, and selection is split off train as
usual. Every `<br />` of the reviews becomes a line break.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import TrimformerError
from ..data import Examples, MissingRows, Task
from ..settings import TaskSettings
from ..tables.files import Table, read_text, read_tsv
from ..tables.rows import ClassRows
from .hub import load_split, local_folder

HUB = "stanfordnlp/imdb"
LABELS = ("negative", "positive")
SHORT = ("neg", "pos")
"""The labels as folders and the hub write them."""


def load(settings: TaskSettings) -> tuple[Task, Examples, Examples]:
    """The task with its training and its test half; raises TrimformerError where something is missing or wrong."""
    return _task(settings), _half(settings, "train"), _half(settings, "test")


def load_validation(settings: TaskSettings) -> tuple[Task, Examples]:
    """The task with its test half alone."""
    return _task(settings), _half(settings, "test")


def _task(settings: TaskSettings) -> Task:
    source = f"IMDB from {settings.data or HUB}; validation: its test half"
    return Task("imdb", "classification", LABELS, ("accuracy",), source)


def _half(settings: TaskSettings, half: str) -> Examples:
    folder = local_folder(settings.data)
    if folder is None:
        examples = _from_table(load_split(settings.data or HUB, None, half, SHORT))
    else:
        place = folder / "aclImdb" if (folder / "aclImdb").is_dir() else folder
        examples = _from_reviews(place / half) if (place / half).is_dir() else _from_table(_table(place, half))
    return replace(examples, texts=[text.replace("<br />", "\n") for text in examples.texts])


def _from_reviews(place: Path) -> Examples:
    """The folders neg and pos, one review per file."""
    texts: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(SHORT):
        files = sorted((place / name).glob("*.txt"))
        if not files:
            raise TrimformerError(
                f"The folder {place / name} holds no .txt files: put the {LABELS[label]} reviews of IMDB there."
            )
        texts += [read_text(file) for file in files]
        labels += [label] * len(files)
    return Examples(texts, None, labels)


def _table(place: Path, half: str) -> Table:
    found = [path for path in sorted(place.glob(f"{half}*")) if path.name.endswith((".tsv", ".tsv.gz"))]
    if not found:
        raise MissingRows(
            f"The folder {place} has neither a folder {half} with neg and pos nor a file {half}.tsv (plain or .gz) for "
            "IMDB: add one or set task.data to the folder that holds it."
        )
    if len(found) > 1:
        raise TrimformerError(f"The folder {place} holds both {found[0].name} and {found[1].name}: remove one of them.")
    return read_tsv(found[0])


def _from_table(table: Table) -> Examples:
    rows = ClassRows.take(table, "text", None, "label")
    names = {short: label for i, label in enumerate(LABELS) for short in (str(i), SHORT[i])}
    return replace(rows, labels=[names.get(label, label) for label in rows.labels]).as_examples(LABELS)
