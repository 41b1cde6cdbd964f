"""Arithmetic of the time budget: what is left, whose share it is, and how many epochs fit into it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ...training.settings import TrainingSettings

MARGIN = 0.9
"""Share of its time that a training is planned for; the rest is for steps that take longer than those measured."""


class TimeBudget:
    """seconds: of the whole run, None: no limit. spent: by what was done before a run was resumed."""

    def __init__(self, seconds: float | None, spent: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.seconds = math.inf if seconds is None else seconds
        self.end = clock() + self.seconds - spent

    def left(self, reserve: float = 0.0) -> float:
        """Seconds that are left beside a reserve, never less than 0; infinite without a limit."""
        return max(0.0, self.end - self.clock() - reserve)

    def deadline(self, seconds: float) -> float | None:
        """The time on the clock after these seconds; None where they are infinite."""
        return None if math.isinf(seconds) else self.clock() + seconds

    def passed(self, deadline: float | None) -> bool:
        """Whether it is later than that."""
        return deadline is not None and self.clock() >= deadline


def epochs_within(seconds: float, step: float, rows: int, training: TrainingSettings) -> float:
    """How many epochs of these rows fit into the seconds where a step takes ``step`` of them; at least one step.

    Never more than the settings say.
    """
    per_epoch = math.ceil(rows / training.batch_size)
    steps = max(1, int(MARGIN * seconds / step))
    # Half a batch more, so that rounding down gives just that many steps.
    return min(training.epochs, (steps * training.accumulate + 0.5) / per_epoch)


def share(seconds: float, waiting: int, running: int = 1) -> float:
    """Seconds for a training that starts now, of those that are left for it and the waiting ones.

    running: trainings that run at this time, this one with them.
    """
    return max(0.0, seconds) / math.ceil((waiting + 1) / running)
