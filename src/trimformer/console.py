"""What people see: messages on standard error, results and tables on standard output."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

QUIET_SECONDS = 2.0

console = Console(stderr=True, highlight=False)
output = Console(highlight=False)


def print_table(header: list[str], rows: Iterable[Iterable[Any]], title: str | None = None) -> None:
    """Print rows to standard output; all columns but the first, of names that stay whole, are right-aligned."""
    table = Table(title=title, title_justify="left")
    table.add_column(header[0], overflow="fold")
    for name in header[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    output.print(table)


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
