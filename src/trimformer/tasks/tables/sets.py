"""From the columns of a table to texts with several labels, or none."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import TrimformerError
from ..data import Examples
from ..labels import class_names, spelling
from .files import DELIMITED, Table, cell_text, ending
from .rows import Rows

SEPARATOR = "|"
"""Between the names of one row in CSV and TSV, which know no lists."""


class SetRows(Rows):
    """Texts with tuples of different names."""

    @staticmethod
    def read_labels(table: Table, column: str) -> list[tuple[str, ...]]:
        """Lists of names, in CSV and TSV names between '|'; an empty one is not a label.

        Raises TrimformerError for a label that is not a list of different names.
        """
        delimited = ending(table.path) in DELIMITED
        labels: list[tuple[str, ...]] = []
        for row, cell in enumerate(table.column(column)):
            if delimited:
                if str(cell).lstrip().startswith("["):
                    raise TrimformerError(
                        f"In {table.where(row)}, the label in column '{column}' looks like a list, which only JSONL "
                        f"and Parquet can hold: write names with '{SEPARATOR}' between them."
                    )
                cell = str(cell).split(SEPARATOR) if str(cell).strip() else []
            if not isinstance(cell, list):
                raise TrimformerError(
                    f"In {table.where(row)}, the label in column '{column}' is not a list: write a list of names ([] "
                    "for none)."
                )
            names = [spelling(cell_text(name) or "") for name in cell]
            if not all(names):
                raise TrimformerError(
                    f"In {table.where(row)}, the labels in column '{column}' hold something that is not a name: "
                    "correct it."
                )
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise TrimformerError(
                    f"In {table.where(row)}, the labels in column '{column}' hold '{twice}' twice: write each label "
                    "of the text once, by its name and not as 0 or 1."
                )
            labels.append(tuple(sorted(names)))
        return labels

    def names(self) -> tuple[str, ...]:
        return class_names([name for labels in self.labels for name in labels])

    def as_examples(self, names: Sequence[str]) -> Examples:
        """The ids of each row in order."""
        ids = {name: i for i, name in enumerate(names)}
        for row, labels in enumerate(self.labels):
            for label in labels:
                if label not in ids:
                    raise self.unknown(row, label, names)
        return Examples(self.texts, self.pairs, [tuple(sorted(ids[name] for name in row)) for row in self.labels])

    def check_variety(self) -> None:
        """A single label needs no sets."""
        names = self.names()
        if len(names) < 2:
            path = self.table.path
            found = f"Only one label ({names[0]}) occurs in {path}" if names else f"No row of {path} has a label"
            raise TrimformerError(
                f"{found}, and several labels per text need at least two: add rows, or write one name per row for "
                "kind: classification."
            )
        super().check_variety()
