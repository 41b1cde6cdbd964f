"""From the columns of a table to texts and labels, and from label names to ids."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import TrimformerError
from ..data import Examples, Kind
from .files import Table, cell_text

FEW_INTEGERS = 20
"""Integer labels with at most so many different values are taken for classes, more for numbers."""

MOSTLY_NUMBERS = 0.9
"""With this share of numbers the rest are taken for mistakes in numbers, not for the names of classes."""


@dataclass(frozen=True)
class Rows:
    """Texts with their labels as written; `table` says where each row stands."""

    table: Table
    texts: list[str]
    pairs: list[str] | None
    labels: list[str]

    def as_classes(self, names: Sequence[str]) -> Examples:
        """Examples with label ids; raises TrimformerError for a label that is not among `names`."""
        ids = {name: i for i, name in enumerate(names)}
        for row, label in enumerate(self.labels):
            if label not in ids:
                raise TrimformerError(
                    f"{self.table.where(row)}: label '{label}' is not among the known labels "
                    f"({shown(names)}); correct it, or add training rows with it"
                )
        return Examples(self.texts, self.pairs, [ids[label] for label in self.labels])

    def as_numbers(self) -> Examples:
        """Examples with float labels; raises TrimformerError for a label that is no finite number."""
        for row, label in enumerate(self.labels):
            if number(label) is None:
                raise TrimformerError(
                    f"{self.table.where(row)}: label '{label}' is not a finite number; "
                    "correct it, or set kind: classification"
                )
        return Examples(self.texts, self.pairs, [float(label) for label in self.labels])


def take_rows(table: Table, text: str, pair: str | None, label: str) -> Rows:
    """Pick the columns; raises TrimformerError for a missing column, a missing text, an empty label or a list."""
    for row, cell in enumerate(table.column(label)):
        if isinstance(cell, list):
            raise TrimformerError(
                f"{table.where(row)}: the label in column '{label}' is a list; "
                "write one name, or set kind: multilabel and write lists everywhere"
            )
    labels = [value.strip() for value in text_column(table, label)]
    for row, value in enumerate(labels):
        if not value:
            raise TrimformerError(
                f"{table.where(row)}: the label in column '{label}' is empty; fill it in or remove the row"
            )
    return Rows(table, text_column(table, text), None if pair is None else text_column(table, pair), labels)


def decide_kind(labels: Sequence[str]) -> Kind:
    """Regression if the labels are numbers, unless they are integers with few different values.

    One wrong number among many does not make them classes: `as_numbers` then names its row.
    """
    values = [value for label in labels if (value := number(label)) is not None]
    if len(values) < MOSTLY_NUMBERS * len(labels):
        return "classification"
    integers = all(value.is_integer() for value in values)
    return "classification" if integers and len(set(values)) <= FEW_INTEGERS else "regression"


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels: in the order of their numbers if all are numbers, else alphabetically."""
    names = sorted(set(labels))
    if all(number(name) is not None for name in names):
        names.sort(key=float)
    return tuple(names)


def match_labels(have: Sequence[str], want: Sequence[str], ordered: bool = True) -> list[int]:
    """For each name in `have` its id in `want`: by name, if need be whatever the case, or else by number.

    Plain numbers ('0', '1') and the placeholders that transformers writes ('LABEL_0') name nothing. Numbers in the
    data are ids if 0 is among them: who counts from 1 means something else. A model with placeholders alone gets as
    many names in their order, unless `ordered` is False. Raises TrimformerError where none of this works.
    """
    exact = {name: i for i, name in enumerate(want)}
    if all(name in exact for name in have):
        return [exact[name] for name in have]
    folded = {name.casefold(): i for i, name in enumerate(want)}
    ids = [folded[name.casefold()] for name in have if name.casefold() in folded]
    if len(folded) == len(want) and len(set(ids)) == len(have):
        return ids
    numbers = [n for name in have if (n := _placeholder(name)) is not None]
    nameless = all(_placeholder(name) == i for i, name in enumerate(want))
    if len(numbers) == len(have):
        if 0 in numbers and max(numbers) < len(want) and (nameless or len(have) == len(want)):
            return numbers
    elif nameless and ordered and len(have) == len(want):
        return list(range(len(have)))
    remedy = "the model names none, so write the right names into" if nameless else "rename the labels in the data or"
    raise TrimformerError(
        f"the labels of the data ({shown(have)}) are not those of the model ({shown(want)}); "
        f"{remedy} id2label in the model's config.json"
    )


def number(label: str) -> float | None:
    """The label as a finite number, or None."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def shown(names: Sequence[str]) -> str:
    """At most ten names for a message."""
    return ", ".join(names[:10]) + (f", … {len(names)} in all" if len(names) > 10 else "")


def text_column(table: Table, name: str) -> list[str]:
    """The cells of a column as texts; raises TrimformerError where one is missing or no plain value."""
    texts = [cell_text(cell) for cell in table.column(name)]
    for row, value in enumerate(texts):
        if value is None:
            what = "is empty or holds no plain value"
            if isinstance(table.column(name)[row], list | dict):
                what = "holds no plain text (tagged words and questions need --kind where columns are named)"
            raise TrimformerError(f"{table.where(row)}: column '{name}' {what}; fill it in or remove the row")
    return [value for value in texts if value is not None]


def _placeholder(name: str) -> int | None:
    match = re.fullmatch(r"(?:LABEL_)?(\d+)", name)
    return int(match[1]) if match else None
