"""What people see while work goes on: messages and progress on standard error."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

QUIET_SECONDS = 2.0
console = Console(stderr=True, highlight=False)


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
    """A progress bar with time left that appears only when the work takes longer than ``quiet`` seconds."""

    def __init__(self, title: str, total: int, *, enabled: bool = True, quiet: float = QUIET_SECONDS) -> None:
        self.quiet = quiet
        shown = enabled and console.is_interactive  # elsewhere an empty line would be all that is left of it
        self.progress = Progress(transient=True, console=console, disable=not shown)
        self.task = self.progress.add_task(title, total=total)
        self.started = time.perf_counter()

    def __enter__(self) -> Ticker:
        return self

    def show(self, title: str) -> None:
        """Say what is being done now, in place of the title."""
        self.progress.update(self.task, description=escape(title))
        self._appear()

    def advance(self, steps: int = 1) -> None:
        self._appear()
        self.progress.advance(self.task, steps)

    def _appear(self) -> None:
        if time.perf_counter() - self.started >= self.quiet:
            self.progress.start()

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
