"""The jobs of a search as a table of a database, from which any number of processes take them.

A job is waiting, running, and then done or failed. Every change names the state and the owner that it starts from, so
that of two processes one finds nothing left to change: a job is taken once, and what a worker brings after its job was
given to another does not count.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ...errors import TrimformerError
from ...work_files import checked
from ..schedule.halving import Point
from .job import TrainingJob

LOCKED = 60.0
"""Seconds that a process waits for the others to leave an SQLite file."""

METADATA = sa.MetaData()
JOBS = sa.Table(
    "trimformer_jobs",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("search", sa.String(300), nullable=False, index=True),
    sa.Column("rung", sa.Integer, nullable=False),
    sa.Column("rungs", sa.Integer, nullable=False),
    sa.Column("point", sa.JSON, nullable=False),
    sa.Column("until", sa.Double),  # when its rung is to be done, as time.time() counts
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("owner", sa.String(300)),
    sa.Column("heartbeat", sa.DateTime(timezone=True)),  # on the clock of the database, with SQLite of the machine
    sa.Column("result", sa.JSON),  # the point after training
    sa.Column("error", sa.Text),
)
State = Literal["waiting", "running", "done", "failed"]
NOW = sa.func.current_timestamp()


@dataclasses.dataclass(frozen=True)
class StoredJob:
    """A job as it stands in the table. until: the time at which its rung is to be done, None: whenever it is.

    owner: the process that took it. result: of a job that is done. error: of one that failed.
    """

    id: int
    job: TrainingJob
    until: float | None
    owner: str | None
    result: Point | None
    error: str | None


class JobTable:
    """The jobs of one search; every process opens its own and is an owner of its own.

    All of it raises TrimformerError where the database does not answer.
    """

    def __init__(self, url: str, search: str) -> None:
        self.engine, self.search = open_engine(url), search
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def queue(self, jobs: Sequence[TrainingJob], until: float | None) -> None:
        """Let the jobs wait that are not in the table yet; all of its jobs are to be done by ``until``."""
        known = {(stored.job.rung, stored.job.point.name) for stored in self.find()}
        new = [
            {"search": self.search, "rung": job.rung, "rungs": job.rungs, "point": dataclasses.asdict(job.point)}
            | {"until": until, "state": "waiting"}
            for job in jobs
            if (job.rung, job.point.name) not in known
        ]
        self._change(until=until)
        if new:
            with self._transaction() as connection:
                connection.execute(sa.insert(JOBS), new)

    def find(self, *states: State) -> list[StoredJob]:
        """Those in one of these states, in the order in which they were queued; without a state all of them."""
        wanted = sa.select(JOBS).where(JOBS.c.search == self.search).order_by(JOBS.c.id)
        if states:
            wanted = wanted.where(JOBS.c.state.in_(states))
        with self._transaction() as connection:
            return [_stored(row) for row in connection.execute(wanted)]

    def claim(self) -> StoredJob | None:
        """Take a job that waits; None where none does."""
        for stored in self.find("waiting"):
            waits = (JOBS.c.id == stored.id, JOBS.c.state == "waiting")
            if self._change(*waits, state="running", owner=self.owner, heartbeat=NOW):
                return stored
        return None

    def beat(self, taken: StoredJob) -> None:
        """Give a sign of life while a job that this process took is being trained."""
        self._change(*self._own(taken), heartbeat=NOW)

    def finish(self, taken: StoredJob, result: Point) -> None:
        """Say that a job is done; where it was given to another process in the meantime, the result does not count."""
        self._change(*self._own(taken), state="done", result=dataclasses.asdict(result))

    def fail(self, taken: StoredJob, error: str) -> None:
        """Say that this process could not do a job, and why."""
        self._change(*self._own(taken), state="failed", error=error)

    def fail_silent(self, seconds: float) -> None:
        """Let the jobs fail whose owners gave no sign of life for these seconds."""
        with self._transaction() as connection:
            now = connection.scalar(sa.select(NOW))
        assert now is not None
        silent = (JOBS.c.state == "running", JOBS.c.heartbeat < now - datetime.timedelta(seconds=seconds))
        self._change(*silent, state="failed", error=f"no sign of life for {seconds:g} s")

    def queue_failed(self) -> list[StoredJob]:
        """Let the jobs that failed wait again, and return them with the owner and the error that they had."""
        failed = self.find("failed")
        return [one for one in failed if self._change(JOBS.c.id == one.id, JOBS.c.state == "failed", state="waiting")]

    def _own(self, taken: StoredJob) -> tuple[sa.ColumnElement[bool], ...]:
        return JOBS.c.id == taken.id, JOBS.c.state == "running", JOBS.c.owner == self.owner

    def _change(self, *where: sa.ColumnElement[bool], **values: object) -> bool:
        """Change the jobs for which all conditions hold; False where there is none."""
        with self._transaction() as connection:
            done = connection.execute(sa.update(JOBS).where(JOBS.c.search == self.search, *where).values(**values))
        return done.rowcount > 0

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise TrimformerError(
                f"The storage of the search does not answer ({_reason(error)}): check the database and resume."
            ) from error


def open_engine(url: str) -> sa.Engine:
    """Open a database, with the table in it. Raises TrimformerError where that cannot be."""
    shown = url
    try:
        made = sa.make_url(url)
        shown = made.render_as_string(hide_password=True)
        local = made.get_backend_name() == "sqlite"
        engine = sa.create_engine(made, **{"connect_args": {"timeout": LOCKED}} if local else {"pool_pre_ping": True})
        METADATA.create_all(engine)
    except (SQLAlchemyError, ImportError) as error:
        raise TrimformerError(
            f"The storage {shown} cannot be opened ({_reason(error)}): use `sqlite`, or the URL of a database whose "
            "driver is installed."
        ) from error
    return engine


def _stored(row: sa.Row[tuple[object, ...]]) -> StoredJob:
    source, remedy = f"Row {row.id} of the table of jobs", "delete it, and its training waits anew"
    job = TrainingJob(row.rung, row.rungs, checked(row.point, Point, source, remedy))
    result = checked(row.result, Point, source, remedy) if row.result else None
    return StoredJob(row.id, job, row.until, row.owner, result, row.error)


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
