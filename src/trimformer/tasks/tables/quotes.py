"""What quotes in a TSV file are: marks around cells, as CSV has them, or letters of the texts, as GLUE has them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Literal

Quotes = Literal["letters", "marks", "unclear"]

WHOLE = r'"(?:[^"]|"")*"'
QUOTED = re.compile(WHOLE)
ROW = re.compile(rf'(?:{WHOLE}|[^"\t]*)(?:\t(?:{WHOLE}|[^"\t]*))*')

UNCLEAR = (
    "quotes around whole cells of {name} were kept as letters of the texts, because nothing shows that they mark the "
    "cells (a header in quotes, a doubled quote in a cell); save the file as CSV if they do"
)
"""What is said where it is not clear."""


def quotes_of(lines: Iterable[str]) -> Quotes:
    """Look through the lines of a file with a header; reads no further than to the first quote that marks no cell.

    Quotes are marks where every one of them stands as CSV writes it, and either the lines alone do not have the columns
    of the header (a tab or a line break stands in quotes), or a quote in a cell is doubled, or the header is in quotes.
    Programs that quote only what has to be write nothing else. Without any of these it is not clear.
    """
    found = header = doubled = False  # any quote; one around a name of the header; two side by side in a cell
    broken = folded = False  # lines that have not the columns of the header; rows of several lines
    columns = 0
    taken: list[str] = []

    def noted() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    try:
        for cells in csv.reader(noted(), delimiter="\t", strict=True):
            raw, count = [line.rstrip("\r\n") for line in taken], len(cells)
            taken.clear()
            if not cells:
                continue
            if any('"' in line for line in raw):
                found = True
                if not ROW.fullmatch("\n".join(raw)):
                    return "letters"
                parts = [part for line in raw for part in line.split("\t")]
                header |= not columns and any(map(QUOTED.fullmatch, parts))
                doubled |= any(QUOTED.fullmatch(part) and '""' in part[1:-1] for part in parts)
                folded |= len(raw) > 1
            columns = columns or count
            if count != columns:
                return "letters"
            broken |= any(line.count("\t") + 1 != columns for line in raw if line)
    except csv.Error:
        return "letters"
    if not found:
        return "letters"
    return "marks" if broken or ((doubled or header) and not folded) else "unclear"
