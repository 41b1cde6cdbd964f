"""Dynamic batching: rows of many requests wait in one bounded queue, and one thread answers them in batches."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from ..deploy.answers import AnyAnswer
from ..deploy.windows import Row
from ..errors import TrimformerError

CHARACTERS_PER_TOKEN = 4
"""About what word pieces of English have. Only the size of a batch depends on it."""

logger = logging.getLogger(__name__)


class Full(Exception):
    """The queue has no room for these rows now."""


class Closed(Exception):
    """Nothing is taken any more."""


@dataclasses.dataclass(frozen=True)
class Done:
    """The answers of one request, in order. waited, ran: seconds in the queue, and in batches of the model."""

    answers: list[AnyAnswer]
    waited: float
    ran: float


class _Job:
    """The rows of one request; those from ``taken`` on still wait."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.future: Future[Done] = Future()
        self.arrived = time.perf_counter()
        self.waited = self.ran = 0.0
        self.taken = 0
        self.answers: list[AnyAnswer] = []


class Batcher:
    """Answers rows by ``answer`` in a thread of its own, in the order in which they came.

    answer: rows to answers, in order. turn: held while a batch runs; batchers that share one take turns, since the
    cores belong to one model at a time. max_batch: tokens of a batch, by estimate (four characters each). max_wait:
    seconds that a row waits for others while the thread is idle. capacity: rows that may wait. observe: told the
    number of rows of each batch.
    """

    def __init__(
        self,
        answer: Callable[[list[Row]], Iterable[AnyAnswer]],
        turn: threading.Lock,
        *,
        max_batch: int,
        max_wait: float,
        capacity: int,
        observe: Callable[[int], Any] = lambda rows: None,
    ) -> None:
        self.answer, self.turn, self.observe = answer, turn, observe
        self.max_batch, self.max_wait, self.capacity = max_batch, max_wait, capacity
        self.waiting = 0
        """Rows in the queue."""
        self._tokens = 0
        self._jobs: deque[_Job] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, rows: Sequence[Row]) -> Future[Done]:
        """Queue one or more rows. Cancelling the future takes those out that have not been answered yet.

        The future raises TrimformerError for rows that cannot be answered. Raises Full and Closed.
        """
        job = _Job(rows)
        with self._changed:
            if self._closed:
                raise Closed
            if self.waiting + len(rows) > self.capacity:
                raise Full
            self.waiting += len(rows)
            self._tokens += sum(map(tokens, rows))
            self._jobs.append(job)
            self._changed.notify()
        job.future.add_done_callback(lambda future: self._drop(job) if future.cancelled() else None)
        return job.future

    def close(self) -> None:
        """Take nothing more, and return when all that waits is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _drop(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._leave(job.rows[job.taken :])

    def _leave(self, rows: Sequence[Row]) -> None:
        self.waiting -= len(rows)
        self._tokens -= sum(map(tokens, rows))

    def _work(self) -> None:
        while batch := self._next():
            self._run(batch)

    def _next(self) -> list[tuple[_Job, Sequence[Row]]]:
        """Some rows of each job at the head of the queue, together about ``max_batch`` tokens; [] at the end."""
        with self._changed:
            while not self._is_due():
                if self._closed and not self._jobs:
                    return []
                oldest = self._jobs[0].arrived + self.max_wait - time.perf_counter() if self._jobs else None
                self._changed.wait(oldest)
            batch = []
            room = self.max_batch
            while self._jobs and room > 0:
                job = self._jobs[0]
                start = job.taken
                while job.taken < len(job.rows) and room > 0:
                    room -= tokens(job.rows[job.taken])
                    job.taken += 1
                rows = job.rows[start : job.taken]
                self._leave(rows)
                batch.append((job, rows))
                if job.taken == len(job.rows):
                    self._jobs.popleft()
            return batch

    def _is_due(self) -> bool:
        if not self._jobs:
            return False
        waited = time.perf_counter() - self._jobs[0].arrived
        return self._closed or self._tokens >= self.max_batch or waited >= self.max_wait

    def _run(self, batch: Sequence[tuple[_Job, Sequence[Row]]]) -> None:
        try:
            with self.turn:
                batch = [(job, part) for job, part in batch if not job.future.cancelled()]  # while it was not our turn
                rows = [row for _, part in batch for row in part]
                if not rows:
                    return
                start = time.perf_counter()
                answers = list(self.answer(rows))
                seconds = time.perf_counter() - start
        except Exception as error:
            if len(batch) > 1:  # only the request that it comes from shall fail
                for one in batch:
                    self._run([one])
                return
            if not isinstance(error, TrimformerError):
                logger.exception("A batch failed")
            ((job, _),) = batch
            self._drop(job)
            with suppress(InvalidStateError):
                job.future.set_exception(error)
            return
        self.observe(len(rows))
        for job, part in batch:
            if not job.answers:
                job.waited = start - job.arrived
            job.answers += answers[: len(part)]
            del answers[: len(part)]
            job.ran += seconds
            if len(job.answers) == len(job.rows):
                with suppress(InvalidStateError):  # cancelled meanwhile
                    job.future.set_result(Done(job.answers, job.waited, job.ran))


def tokens(row: Row) -> int:
    """About how many tokens a row has."""
    characters = len(row) if isinstance(row, str) else sum(map(len, row))
    return 2 + characters // CHARACTERS_PER_TOKEN
