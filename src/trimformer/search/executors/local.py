"""The executor of one process: one job after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ..schedule.budget import share
from ..schedule.halving import Point
from .job import Train, TrainingJob


def one_by_one(jobs: Sequence[TrainingJob], seconds: float, train: Train) -> Iterator[Point]:
    """Do the jobs in this process; the seconds are for all of them."""
    end = time.monotonic() + seconds
    for place, job in enumerate(jobs, 1):
        yield train(job, share(end - time.monotonic(), len(jobs) - place))
