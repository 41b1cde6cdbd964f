"""Pieces labelled in this process or in several, in the order of the pieces, with few of them in memory."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from ...cores import usable_cores
from ...errors import TrimformerError
from .labeller import Done, LabelJob, Labeller
from .rows import Piece, Place

AHEAD = 3
"""Pieces given out for each worker: one in work, one waiting, one to be written."""


def label_here(job: LabelJob, pieces: Iterable[Piece], workers: int) -> Generator[tuple[Place, Done], None, None]:
    """Pieces in order, labelled on this machine: by this process with all cores, or by several that share them."""
    if workers > 1:
        threads = max(1, usable_cores() // workers)
        yield from label_in_processes(dataclasses.replace(job, threads=threads), pieces, workers)
        return
    labeller = Labeller(job)
    for piece in pieces:
        yield piece.place, labeller(piece)


def label_in_processes(
    job: LabelJob, pieces: Iterable[Piece], workers: int
) -> Generator[tuple[Place, Done], None, None]:
    """Pieces in order, labelled by worker processes that each open the model.

    Raises TrimformerError for what a worker cannot read, and where one has died. However this generator ends, and also
    if this process is killed, the workers end.
    """
    context = multiprocessing.get_context("spawn")
    alive, life = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(alive, job))
    waiting: collections.deque[tuple[Place, Future[Done]]] = collections.deque()
    try:
        for piece in pieces:
            with _interrupts_ignored():  # the first call starts the processes
                waiting.append((piece.place, pool.submit(_label, piece)))
            if len(waiting) == workers * AHEAD:
                place, future = waiting.popleft()
                yield place, future.result()
        while waiting:
            place, future = waiting.popleft()
            yield place, future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise TrimformerError(
            "A worker process died, perhaps for lack of memory: try again with fewer --workers."
        ) from error
    finally:
        life.close()
        pool.shutdown(cancel_futures=True)


_job: LabelJob
_labeller: Labeller | None = None


def _start(alive: Connection, job: LabelJob) -> None:
    global _job
    _job = job
    threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()


def _end_with_parent(alive: Connection) -> None:
    """Nothing is ever sent: the pipe ends when the parent closes it or is gone."""
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    os._exit(1)


def _label(piece: Piece) -> Done:
    global _labeller
    if _labeller is None:  # not in _start: what is raised there does not reach the parent
        _labeller = Labeller(_job)
    return _labeller(piece)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that are started inside ignore Ctrl-C: the parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
