"""Progress with the time left, on standard error, for work that takes long enough to wonder."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ...console import console

PATIENCE = 2.0
"""Seconds before anything is shown."""


class Meter:
    """total: bytes of the source, None where that is not known; start: bytes that were done before."""

    def __init__(self, total: int | None, start: int = 0) -> None:
        self.bar = Progress(
            TextColumn("{task.fields[rows]:,} rows"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.task = self.bar.add_task("", total=total, completed=start, rows=0)
        self.begun = time.monotonic()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def update(self, done: int, rows: int) -> None:
        """done: bytes of the source; rows: labelled."""
        self.bar.update(self.task, completed=done, rows=rows)
        if not self.bar.live.is_started and time.monotonic() - self.begun > PATIENCE:
            self.bar.start()
