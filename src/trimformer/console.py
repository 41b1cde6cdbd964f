"""What people see: messages on standard error, results and tables on standard output."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

QUIET_SECONDS = 2.0
NAME, FIGURE = 24, 20
"""Characters of a name that a narrow terminal does not break; of a figure: what is longer is read as a sentence."""

console = Console(stderr=True, highlight=False)
output = Console(highlight=False)


def print_table(header: list[str], rows: Iterable[Iterable[Any]], title: str | None = None) -> None:
    """Print rows to standard output: names first, kept whole up to NAME characters, then figures and sentences."""
    cells = [[str(cell) for cell in row] for row in rows]
    longest = [max((len(row[place]) for row in cells), default=0) for place in range(len(header))]
    table = Table(title=title, title_justify="left")
    table.add_column(header[0], overflow="fold", min_width=min(longest[0], NAME))
    for name, length in zip(header[1:], longest[1:], strict=True):
        table.add_column(name, justify="left" if length > FIGURE else "right")
    for row in cells:
        table.add_row(*row)
    output.print(table)


def progress_bar(enabled: bool) -> Progress:
    """A progress bar with elapsed and remaining time, on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not enabled,
    )


class Ticker:
    """A progress bar with time left that appears only when the work takes longer than two seconds."""

    def __init__(self, title: str, total: int, *, enabled: bool = True) -> None:
        self.progress = Progress(transient=True, console=console, disable=not enabled)
        self.task = self.progress.add_task(title, total=total)
        self.started = time.perf_counter()

    def __enter__(self) -> Ticker:
        return self

    def advance(self) -> None:
        if time.perf_counter() - self.started > QUIET_SECONDS:
            self.progress.start()
        self.progress.advance(self.task)

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
