"""From the columns of a table to texts with one label each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ..data import Examples
from ..labels import as_numbers, class_names, match_labels, number, shown, spellings
from .files import Table, cell_text

FEW_INTEGERS = 20
"""Integer labels with at most this number of different values are taken for classes."""

MOSTLY_NUMBERS = 0.9
"""With this share of numbers the rest are taken for mistakes in numbers, not for the names of classes."""


@dataclass(frozen=True)
class Rows(ABC):
    """Texts with their labels; `table` says where each row stands."""

    table: Table
    texts: list[str]
    pairs: list[str] | None
    labels: list[Any]

    @classmethod
    def take(cls, table: Table, text: str, pair: str | None, label: str) -> Self:
        """Pick the columns; raises TrimformerError for a missing column or text, and for a label of another form."""
        labels = cls.read_labels(table, label)
        return cls(table, text_column(table, text), None if pair is None else text_column(table, pair), labels)

    @staticmethod
    def read_labels(table: Table, column: str) -> list[Any]:
        """Each label in its one `spelling`; raises TrimformerError for an empty label and for a list."""
        for row, cell in enumerate(table.column(column)):
            if isinstance(cell, list):
                raise TrimformerError(
                    f"In {table.where(row)}, the label in column '{column}' is a list: "
                    "write one name, or set kind: multilabel and write lists everywhere."
                )
        labels = spellings(text_column(table, column))
        for row, value in enumerate(labels):
            if not value:
                raise TrimformerError(
                    f"In {table.where(row)}, the label in column '{column}' is empty: fill it in or remove the row."
                )
        return labels

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of the labels that occur, in the order of their ids."""

    @abstractmethod
    def as_examples(self, names: Sequence[str]) -> Examples:
        """Examples with the ids of these names; raises TrimformerError for a label that has none."""

    def check_variety(self) -> None:
        """Raise TrimformerError for training rows from which nothing can be learned."""
        if len(set(self.labels)) == 1:
            same = self.labels[0] if isinstance(self.labels[0], str) else shown(self.labels[0])
            raise TrimformerError(
                f"Every row of {self.table.path} has the same label ({same}), so there is nothing to learn: "
                "add rows with another label."
            )

    def unknown(self, row: int, label: str, names: Sequence[str]) -> TrimformerError:
        """The error for a label that is not among these names."""
        return TrimformerError(
            f"In {self.table.where(row)}, the label '{label}' is not among the known labels ({shown(names)}): "
            "correct it, or add training rows with it."
        )


class ClassRows(Rows):
    """Texts with names of classes."""

    def names(self) -> tuple[str, ...]:
        return class_names(self.labels)

    def as_examples(self, names: Sequence[str]) -> Examples:
        ids = {name: i for i, name in enumerate(names)}
        for row, label in enumerate(self.labels):
            if label not in ids:
                raise self.unknown(row, label, names)
        return Examples(self.texts, self.pairs, [ids[label] for label in self.labels])


class NumberRows(Rows):
    """Texts with numbers, which have no names."""

    def names(self) -> tuple[str, ...]:
        return ()

    def as_examples(self, names: Sequence[str] = ()) -> Examples:
        """Examples with float labels, true and false alone as 1 and 0.

        Raises TrimformerError for a label that is not a finite number.
        """
        labels = as_numbers(self.labels)
        for row, label in enumerate(labels):
            if number(label) is None:
                raise TrimformerError(
                    f"In {self.table.where(row)}, the label '{label}' is not a finite number: "
                    "correct it, or set kind: classification."
                )
        return Examples(self.texts, self.pairs, [float(label) for label in labels])


class RelevanceRows(NumberRows):
    """Couples of a query and a text, with the relevance of the text: 0, 1 or between."""

    def as_examples(self, names: Sequence[str] = ()) -> Examples:
        """As numbers; raises TrimformerError for one that is below 0 or above 1."""
        examples = super().as_examples()
        for row, label in enumerate(examples.labels):
            if not 0 <= label <= 1:
                raise TrimformerError(
                    f"In {self.table.where(row)}, the relevance '{self.labels[row]}' is not between 0 and 1: divide "
                    "all labels by the highest one, or set kind: regression."
                )
        return examples


class Reading(NamedTuple):
    """What labels are read as, and why, where that is not plain to see."""

    kind: Kind
    why: str = ""


def decide_kind(labels: Sequence[str], names: Sequence[str] | None = None) -> Reading | None:
    """Whether labels are classes or numbers; None where both may be meant: many different integers.

    names: of a model's outputs, if one is known. Labels that it knows are classes, and numbers are such where it has
    one output; without a name that is sure to be a number, with one it may be the score of 1 against 0. One wrong
    number among many does not make classes: `NumberRows` then names its row.
    """
    values = [value for label in as_numbers(labels) if (value := number(label)) is not None]
    if len(values) < MOSTLY_NUMBERS * len(labels):
        return Reading("classification")
    counts = Counter(values)
    many = len(counts) > FEW_INTEGERS
    if names is not None and len(names) > 1 and _known(labels, names):
        return Reading("classification", "labels read as classes, because the model's head knows them" if many else "")
    if not all(value.is_integer() for value in values):
        return Reading("regression", "labels read as numbers, because not all are integers")
    if names is not None and len(names) < 2 and not (names and set(counts) == {0, 1}):
        why = "labels read as numbers, because the model's head has one output; --kind classification reads classes"
        return Reading("regression", why)
    if not many:
        return Reading("classification")
    if set(counts) == set(range(len(counts))) and min(counts.values()) > 1:  # ids of classes, each seen again
        return Reading(
            "classification",
            f"labels read as classes, because they are 0 to {len(counts) - 1} without a gap, each more than once; "
            "--kind regression reads amounts",
        )
    return None


def _known(labels: Sequence[str], names: Sequence[str]) -> bool:
    try:
        match_labels(class_names(labels), names, ordered=False)
    except TrimformerError:
        return False
    return True


def text_column(table: Table, name: str) -> list[str]:
    """The cells of a column as texts; raises TrimformerError where one is missing or no plain value."""
    texts = [cell_text(cell) for cell in table.column(name)]
    for row, value in enumerate(texts):
        if value is None:
            what = "is empty or holds no plain value"
            if isinstance(table.column(name)[row], list | dict):
                what = "holds no plain text (tagged words and questions need --kind where columns are named)"
            raise TrimformerError(f"In {table.where(row)}, the column '{name}' {what}: fill it in or remove the row.")
    return [value for value in texts if value is not None]
