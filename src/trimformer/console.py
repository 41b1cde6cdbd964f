"""What people see: messages on standard error, results and tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(stderr=True, highlight=False)
output = Console(highlight=False)


def print_table(header: list[str], rows: Iterable[Iterable[Any]], title: str | None = None) -> None:
    """Print rows to standard output; all columns but the first are right-aligned."""
    table = Table(*header[:1], title=title, title_justify="left")
    for name in header[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    output.print(table)
