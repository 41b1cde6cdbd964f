"""What is to be trained, and what an executor is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from ..schedule.halving import Point


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """A candidate to be trained further. rung: the first one is 0. rungs: how many there are."""

    rung: int
    rungs: int
    point: Point

    def __str__(self) -> str:
        return f"rung {self.rung + 1} of {self.rungs}, {self.point.name}: {self.point.removed}"


Train = Callable[[TrainingJob, float], Point]
"""Does a job within the given seconds."""
Executor = Callable[[Sequence[TrainingJob], float, Train], Iterable[Point]]
"""Does all jobs of a rung within the given seconds."""
