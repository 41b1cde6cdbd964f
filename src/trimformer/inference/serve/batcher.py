"""Dynamic batching: rows of many requests wait in one bounded queue, and a few threads answer them in batches."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from ...errors import TrimformerError
from ...tasks.kinds.answers import AnyAnswer
from ..batches import Row

CHARACTERS_PER_TOKEN = 4
"""About what word pieces of English have. Only the size of a batch depends on it."""

Answerer = Callable[[list[Row]], Iterable[AnyAnswer]]

logger = logging.getLogger(__name__)


class Full(Exception):
    """The queue has no room for these rows now."""


class Closed(Exception):
    """Nothing is taken any more."""


@dataclasses.dataclass(frozen=True)
class Answered:
    """The answers of one request, in order. waited, ran: seconds in the queue, and in batches of the model."""

    answers: list[AnyAnswer]
    waited: float
    ran: float


class _Job:
    """The rows of one request; those from ``taken`` on still wait."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.future: Future[Answered] = Future()
        self.arrived = time.perf_counter()
        self.waited = self.ran = 0.0
        self.taken = 0
        self.answers: dict[int, AnyAnswer] = {}
        """By the place of their rows: of two batches the later one may be done first."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """Those rows of a job that one batch has. start: the place of the first."""

    job: _Job
    start: int
    rows: Sequence[Row]


class Batcher:
    """Answers rows in the order in which they came, by each of ``workers`` in a thread of its own.

    workers: rows to answers, in order. turns: one is held while a batch runs; batchers that share them take turns,
    since the cores are enough for only a few batches at a time. max_batch: tokens of a batch, by estimate (four
    characters each). max_wait: seconds that a row waits for others while a thread is idle. capacity: rows that may
    wait. observe: told the number of rows of each batch.
    """

    def __init__(
        self,
        workers: Sequence[Answerer],
        turns: threading.Semaphore,
        *,
        max_batch: int,
        max_wait: float,
        capacity: int,
        observe: Callable[[int], Any] = lambda rows: None,
    ) -> None:
        self.turns, self.observe = turns, observe
        self.max_batch, self.max_wait, self.capacity = max_batch, max_wait, capacity
        self.waiting = 0
        """Rows in the queue."""
        self._tokens = 0
        self._jobs: deque[_Job] = deque()
        self._closed = False
        self._idle = 0
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(answer,), name="batcher", daemon=True) for answer in workers
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, rows: Sequence[Row]) -> Future[Answered]:
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
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _drop(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._leave(job.rows[job.taken :])

    def _leave(self, rows: Sequence[Row]) -> None:
        self.waiting -= len(rows)
        self._tokens -= sum(map(tokens, rows))

    def _work(self, answer: Answerer) -> None:
        while batch := self._next():
            self._run(batch, answer)

    def _next(self) -> list[_Part]:
        """Some rows of each job at the head of the queue; [] at the end.

        Together they have about ``max_batch`` tokens, or what is left for each of the idle workers.
        """
        with self._changed:
            self._idle += 1
            while not self._is_due():
                if self._closed and not self._jobs:
                    return []
                oldest = self._jobs[0].arrived + self.max_wait - time.perf_counter() if self._jobs else None
                self._changed.wait(oldest)
            batch = []
            room = min(self.max_batch, -(-self._tokens // self._idle))
            self._idle -= 1
            while self._jobs and room > 0:
                job = self._jobs[0]
                start = job.taken
                while job.taken < len(job.rows) and room > 0:
                    room -= tokens(job.rows[job.taken])
                    job.taken += 1
                part = _Part(job, start, job.rows[start : job.taken])
                self._leave(part.rows)
                batch.append(part)
                if job.taken == len(job.rows):
                    self._jobs.popleft()
            if self._jobs:
                self._changed.notify()  # the others' part
            return batch

    def _is_due(self) -> bool:
        if not self._jobs:
            return False
        waited = time.perf_counter() - self._jobs[0].arrived
        return self._closed or self._tokens >= self.max_batch or waited >= self.max_wait

    def _run(self, batch: Sequence[_Part], answer: Answerer) -> None:
        try:
            with self.turns:
                batch = [part for part in batch if not part.job.future.cancelled()]  # while it was not our turn
                rows = [row for part in batch for row in part.rows]
                if not rows:
                    return
                start = time.perf_counter()
                answers = list(answer(rows))
                seconds = time.perf_counter() - start
        except Exception as error:
            if len(batch) > 1:  # only the request that it comes from shall fail
                for one in batch:
                    self._run([one], answer)
                return
            if not isinstance(error, TrimformerError):
                logger.exception("A batch failed")
            job = batch[0].job
            self._drop(job)
            with suppress(InvalidStateError):
                job.future.set_exception(error)
            return
        self.observe(len(rows))
        found = iter(answers)
        for part in batch:
            self._answered(part, list(itertools.islice(found, len(part.rows))), start, seconds)

    def _answered(self, part: _Part, answers: list[AnyAnswer], start: float, seconds: float) -> None:
        job = part.job
        with self._changed:
            if not job.answers:
                job.waited = start - job.arrived
            job.answers |= enumerate(answers, part.start)
            job.ran += seconds
            if len(job.answers) < len(job.rows):
                return
        in_order = [job.answers[place] for place in range(len(job.rows))]
        with suppress(InvalidStateError):  # cancelled meanwhile
            job.future.set_result(Answered(in_order, job.waited, job.ran))


def tokens(row: Row) -> int:
    """About how many tokens a row has."""
    characters = len(row) if isinstance(row, str) else sum(map(len, row))
    return 2 + characters // CHARACTERS_PER_TOKEN
