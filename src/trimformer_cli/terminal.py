"""What a command prints: results on standard output; messages, and the sentence of a mistake, on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

NAME, FIGURE = 24, 20
"""Characters of a name that a narrow terminal does not break; of a figure: what is longer is read as a sentence."""

console = Console(stderr=True, highlight=False)
output = Console(highlight=False)


def prepare_streams() -> None:
    """Let standard streams that are closed lead nowhere, and letters that the terminal has not be spelt out.

    The next file that is opened would else be written what belongs on a closed stream.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest that is free
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_table(
    header: list[str], rows: Iterable[Iterable[Any]], title: str | None = None, spare: Sequence[str] = ()
) -> None:
    """Print rows to standard output: names first, kept whole up to NAME characters, then figures and sentences.

    A terminal that is too narrow for the table, which would cut figures off, gets a list. spare: columns that are left
    out before anything is broken into two lines, the first of them first.
    """
    from trimformer.one_line import one_line  # what has rows has loaded the package

    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    table = _table(header, cells, title)
    unbounded = output.options.update(max_width=10_000)
    for column in spare:
        if column in header and Measurement.get(output, unbounded, table).maximum > output.width:
            place = header.index(column)
            header = header[:place] + header[place + 1 :]
            cells = [row[:place] + row[place + 1 :] for row in cells]
            table = _table(header, cells, title)
    if Measurement.get(output, unbounded, table).minimum <= output.width:
        output.print(table)
        return
    lines = [] if title is None else [one_line(title)]
    for name, *others in cells:
        lines.append(name)
        lines += [f"  {of}: {cell}" if of else f"  {cell}" for of, cell in zip(header[1:], others, strict=True) if cell]
    output.print("\n".join(lines), markup=False, soft_wrap=True)


def _table(header: list[str], cells: list[list[str]], title: str | None) -> Table:
    from trimformer.one_line import one_line

    columns = list(zip(header, *cells, strict=True))
    longest = [max(map(len, column[1:]), default=0) for column in columns]
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    table = Table(title=None if title is None else Text(one_line(title)), title_justify="left")
    table.add_column(header[0], overflow="fold", min_width=min(longest[0], NAME))
    for name, length, word in zip(header[1:], longest[1:], words[1:], strict=True):
        table.add_column(name, justify="left" if length > FIGURE else "right", min_width=min(word, FIGURE))
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def print_line(text: str) -> None:
    """Print a sentence to standard output, in one line whatever the names in it hold."""
    from trimformer.one_line import one_line

    output.print(one_line(text), markup=False, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """End the program with the sentence of a user's mistake and exit code 2."""
    message = message if message.endswith((".", "?", "!", "`")) else f"{message}."
    console.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)
    sys.exit(2)
