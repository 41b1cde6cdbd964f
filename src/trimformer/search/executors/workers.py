"""The executor of many processes: the search queues jobs in a table, and it and its workers take them from there.

Only the search queues. Who trains gives signs of life; after too long a silence the job counts as failed, and the
search lets it wait again.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...console import console
from ...errors import TrimformerError
from ..schedule.budget import share
from ..schedule.halving import Point
from .job import Train, TrainingJob

if TYPE_CHECKING:  # the package that a table needs may be missing
    from .table import JobTable, StoredJob

POLL = 1.0
"""Seconds between two looks at what there is to do."""
HEARTBEAT = 10
"""Seconds between two signs of life of who trains."""
SILENCE = 60
"""Seconds without one after which a job is given to another worker."""


def with_workers(
    table: JobTable, jobs: Sequence[TrainingJob], seconds: float, train: Train, watch: Callable[[], None]
) -> list[Point]:
    """Let the jobs be done by this process and by those that help; the seconds are for all of them.

    watch: called before each training and while others train.
    """
    table.queue(jobs, None if math.isinf(seconds) else time.time() + seconds)
    waits = False
    while len(done := _done(table, jobs)) < len(jobs):
        watch()
        _queue_again(table)
        if train_next(table, train):
            waits = False
            continue
        if not waits:
            console.print(f"Waiting for the last {len(jobs) - len(done)}, which other workers train")
        waits = True
        time.sleep(POLL)
    owners = {stored.owner for stored in done}
    if len(owners) > 1:
        console.print(f"{len(jobs)} models trained by {len(owners)} workers")
    return [stored.result for stored in done if stored.result is not None]


def train_next(table: JobTable, train: Train) -> bool:
    """Train a job that waits; False where none does. After an exception the job counts as failed."""
    taken = table.claim()
    if taken is None:
        return False
    try:
        with _signs_of_life(table, taken):
            result = train(taken.job, _seconds_for(table, taken))
    except BaseException as error:
        with contextlib.suppress(TrimformerError):  # a table that does not answer finds it silent
            table.fail(taken, str(error) or type(error).__name__)
        raise
    table.finish(taken, result)
    return True


def _done(table: JobTable, jobs: Sequence[TrainingJob]) -> list[StoredJob]:
    """The jobs that are, in their order."""
    found = {(stored.job.rung, stored.job.point.name): stored for stored in table.find("done")}
    keys = [(job.rung, job.point.name) for job in jobs]
    return [found[key] for key in keys if key in found]


def _queue_again(table: JobTable) -> None:
    """Let the jobs of workers that failed or died wait again, and say so."""
    table.fail_silent(SILENCE)
    for failed in table.queue_failed():
        console.print(
            f"Worker {failed.owner} has failed ({(failed.error or '').rstrip('.')}); its training waits again: "
            f"{failed.job}",
            markup=False,
            soft_wrap=True,
        )


def _seconds_for(table: JobTable, taken: StoredJob) -> float:
    """The share of the time that is left for a training that starts now."""
    waiting, running = len(table.find("waiting")), len(table.find("running"))
    return share(math.inf if taken.until is None else taken.until - time.time(), waiting, max(1, running))


@contextlib.contextmanager
def _signs_of_life(table: JobTable, taken: StoredJob) -> Iterator[None]:
    over = threading.Event()

    def give() -> None:
        while not over.wait(HEARTBEAT):
            with contextlib.suppress(TrimformerError):  # the next one may get through
                table.beat(taken)

    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
