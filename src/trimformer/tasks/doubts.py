"""What is doubtful about the rows of a task: counted, and said in sentences."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence

from .data import Examples, Task, called

MISSING = ("nan", "NaN", "NAN", "NaT", "None", "NULL", "null", "<NA>", "NA", "N/A", "n/a", "#N/A")
"""What programs write for a value that is not there; any of them may be the name of a class, too."""

_BETWEEN = re.compile(r"\s*[;,]\s*")
"""What people write between several labels, and no reader here divides them by."""


def data_notes(task: Task, validation: Examples, train: Examples | None = None) -> list[str]:
    """Sentences on texts in both parts, on equal texts with different labels, and on labels that may mean others.

    train: all rows that a model learns from or is chosen by; None where only validation rows were read.
    """
    return list(_doubts(task, validation, train))


def _doubts(task: Task, validation: Examples, train: Examples | None) -> Iterator[str]:
    rows = called(task.kind)
    if train is not None:
        known = set(train.keys())
        if both := sum(key in known for key in validation.keys()):  # noqa: SIM118, for these are no mapping
            yield (
                f"{both} of {len(validation)} validation {rows} occur in train too, where a model can learn them by "
                "heart: take them out of one of the two."
            )
        if task.kind != "spans" and (torn := _differing(train)):  # a question may have several right answers
            yield f"{torn} {rows} occur in train more than once with different labels: no model can learn all of them."
    for name, part in (("train", train), ("validation", validation)):
        if task.kind == "multilabel" and part is not None and (empty := sum(not labels for labels in part.labels)):
            yield f"{empty} of {len(part)} {name} {rows} have no label at all."
        if part is not None:
            yield from _missing(task, part, f"{name} {rows}")
    yield from _separators(task, train or validation)
    dashed = any("-" in label for label in task.labels)
    if task.kind == "tokens" and task.metrics[0] == "accuracy" and {"O", "o"} & {*task.labels} and dashed:
        yield (
            "The tags are not all of one scheme for spans (O with B-X and I-X, BIOES or BILOU), so that words are "
            "scored and no entities."
        )


def _missing(task: Task, part: Examples, rows: str) -> Iterator[str]:
    """Labels that may stand for none."""
    for found, label in enumerate(task.labels):
        if label not in MISSING:
            continue
        count = sum(found in labels if isinstance(labels, tuple) else labels == found for labels in part.labels)
        if count:
            yield (
                f"{count} of {len(part)} {rows} have the label '{label}', which is read as a class: if it stands for a "
                "label that is missing, remove it."
            )


def _differing(rows: Examples) -> int:
    """How many texts have several labels in different rows."""
    found: dict[Hashable, set[Hashable]] = defaultdict(set)
    for key, label in zip(rows.keys(), rows.labels, strict=True):
        found[key].add(label)
    return sum(len(labels) > 1 for labels in found.values())


def _separators(task: Task, rows: Examples) -> Iterator[str]:
    """Labels that may be several in one, which nothing divided."""
    if task.kind == "multilabel" and all(len(labels) < 2 for labels in rows.labels):
        joined = [name for name in task.labels if _BETWEEN.search(name)]
        such = f", and '{joined[0]}' is read as one" if joined else ""
        yield f"No row has more than one label{such}: lists hold several, and in CSV and TSV '|' divides them."
    elif task.kind == "classification" and (joined := _joined(task.labels)):
        yield (
            f"{len(joined)} labels look like several in one, such as '{joined[0]}', and are read as one class each: if "
            "they are several, write '|' between them and name --kind multilabel."
        )


def _joined(names: Sequence[str]) -> list[str]:
    """The names that are made of parts of which each is, or is in, another name."""
    parts = {name: {part for part in _BETWEEN.split(name) if part} for name in names}
    count = Counter(part for own in parts.values() for part in own)
    return [name for name, own in parts.items() if len(own) > 1 and all(count[part] > 1 for part in own)]
