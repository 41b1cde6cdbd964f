"""Several labels per text, or none: reading them, deciding on them, scoring the decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from ...errors import TrimformerError
from ..data import Examples, Task
from ..tables.files import DELIMITED, Table, cell_text, ending
from ..tables.rows import shown, text_column

METRICS = ("f1_micro", "f1_macro", "accuracy")

SEPARATOR = "|"
"""Between the names of one row in CSV and TSV, which know no lists."""


@dataclass(frozen=True)
class SetRows:
    """Texts with the different names of their labels; `table` says where each row stands."""

    table: Table
    texts: list[str]
    pairs: list[str] | None
    labels: list[tuple[str, ...]]

    def as_sets(self, names: Sequence[str]) -> Examples:
        """Examples with label ids in order; raises TrimformerError for a label that is not among `names`."""
        ids = {name: i for i, name in enumerate(names)}
        for row, labels in enumerate(self.labels):
            for label in labels:
                if label not in ids:
                    raise TrimformerError(
                        f"{self.table.where(row)}: label '{label}' is not among the known labels "
                        f"({shown(names)}); correct it, or add training rows with it"
                    )
        return Examples(self.texts, self.pairs, [tuple(sorted(ids[name] for name in row)) for row in self.labels])


def take_set_rows(table: Table, text: str, pair: str | None, label: str) -> SetRows:
    """Pick the columns: labels are lists of names, in CSV and TSV names between '|'; an empty one is no label.

    Raises TrimformerError for a missing column, a missing text and a label that is no list of different names.
    """
    delimited = ending(table.path) in DELIMITED
    labels: list[tuple[str, ...]] = []
    for row, cell in enumerate(table.column(label)):
        if delimited:
            if str(cell).lstrip().startswith("["):
                raise TrimformerError(
                    f"{table.where(row)}: the label in column '{label}' looks like a list, which belongs into JSONL "
                    f"or Parquet; write names with '{SEPARATOR}' between them"
                )
            cell = str(cell).split(SEPARATOR) if str(cell).strip() else []
        if not isinstance(cell, list):
            raise TrimformerError(
                f"{table.where(row)}: the label in column '{label}' is no list; write a list of names ([] for none)"
            )
        names = [(cell_text(name) or "").strip() for name in cell]
        if not all(names):
            raise TrimformerError(
                f"{table.where(row)}: the labels in column '{label}' hold something that is no name; correct it"
            )
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise TrimformerError(
                f"{table.where(row)}: the labels in column '{label}' hold '{twice}' twice; write each label of the "
                "text once, by its name and not as 0 or 1"
            )
        labels.append(tuple(sorted(names)))
    return SetRows(table, text_column(table, text), None if pair is None else text_column(table, pair), labels)


def labels_of(task: Task, examples: Examples) -> np.ndarray:
    """1 where an example has a label, else 0: float32 (n, labels)."""
    matrix = np.zeros((len(examples), len(task.labels)), dtype=np.float32)
    for row, ids in enumerate(examples.labels):
        matrix[row, list(ids)] = 1
    return matrix


def scores(task: Task, predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """All metrics of the task on bool (n, labels), as fractions: F1 over all decisions, the mean F1 of the labels (0
    for a label that is neither there nor predicted), and the share of examples with every label right.
    """
    return {name: _METRICS[name](predicted, truth) for name in task.metrics}


def metric(task: Task) -> Callable[[np.ndarray, np.ndarray], float]:
    """The first metric of the task, micro F1, on (predicted, truth), both bool (n, labels), for a paired bootstrap.

    Its thousands of calls would take minutes with scikit-learn, which checks its arguments each time.
    """
    assert task.metrics[0] == "f1_micro"
    return _quick_f1_micro


def _quick_f1_micro(predicted: np.ndarray, truth: np.ndarray) -> float:
    whole = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return float(2 * np.count_nonzero(predicted & truth) / whole) if whole else 0.0


def _f1_micro(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(f1_score(truth, predicted, average="micro", zero_division=0))


def _f1_macro(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(f1_score(truth, predicted, average="macro", zero_division=0))


def _accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(accuracy_score(truth, predicted))


_METRICS = dict(zip(METRICS, (_f1_micro, _f1_macro, _accuracy), strict=True))
