"""A table of jobs in SQLite: each is taken once, given back where its worker is silent, and counted once."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from trimformer.errors import TrimformerError
from trimformer.search.executors.job import TrainingJob
from trimformer.search.executors.table import JOBS as TABLE
from trimformer.search.executors.table import JobTable
from trimformer.search.schedule.halving import Point

POINTS = [Point(name, "", 1.0, f"0-{name}") for name in "abcdefgh"]
JOBS = [TrainingJob(0, 2, point) for point in POINTS]


def after(job: TrainingJob, score: float = 0.5) -> Point:
    return dataclasses.replace(job.point, score=score, drop=1.0, epochs=1.5)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


def test_two_claimers_get_different_jobs(url: str) -> None:
    search, other = JobTable(url, "a"), JobTable(url, "a")
    search.queue(JOBS[:2], None)
    first, second = search.claim(), other.claim()
    assert first is not None
    assert second is not None
    assert (first.job, second.job) == (JOBS[0], JOBS[1])
    assert search.claim() is None
    assert [stored.owner for stored in search.find("running")] == [search.owner, other.owner]


def test_many_workers_take_each_job_once(url: str) -> None:
    """Without a look at the state when it is changed several take the same one."""
    JobTable(url, "a").queue(JOBS, None)
    taken: list[int] = []
    workers = [JobTable(url, "a") for _ in range(4)]
    together = threading.Barrier(len(workers))

    def take(worker: JobTable) -> None:
        together.wait()
        while (stored := worker.claim()) is not None:
            taken.append(stored.id)

    threads = [threading.Thread(target=take, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, len(JOBS) + 1))


def test_who_reads_before_another_takes_gets_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = JobTable(url, "a"), JobTable(url, "a")
    quick.queue(JOBS[:1], None)
    seen = slow.find("waiting")
    assert quick.claim() is not None
    monkeypatch.setattr(slow, "find", lambda *_: seen)
    assert slow.claim() is None
    assert [stored.owner for stored in quick.find("running")] == [quick.owner]


def test_what_is_queued_again_is_there_once(url: str) -> None:
    search = JobTable(url, "a")
    search.queue(JOBS[:2], 100.0)
    taken = search.claim()
    assert taken is not None
    search.finish(taken, after(taken.job))
    JobTable(url, "a").queue(JOBS[:3], 200.0)
    assert [(stored.job, stored.until) for stored in search.find()] == [(job, 200.0) for job in JOBS[:3]]
    assert [stored.result for stored in search.find("done")] == [after(JOBS[0])]
    search.queue([TrainingJob(1, 2, POINTS[0])], None)  # the same candidate in the next rung
    assert len(search.find()) == 4


def test_searches_in_one_database_do_not_see_each_other(url: str) -> None:
    search, other = JobTable(url, "a"), JobTable(url, "b")
    other.queue(JOBS[:1], None)
    search.queue(JOBS[:1], 100.0)
    assert other.claim() is not None
    assert search.claim() is not None
    search.fail_silent(-3600)
    assert [stored.job for stored in search.queue_failed()] == JOBS[:1]
    assert [(stored.job, stored.until) for stored in other.find("running")] == [(JOBS[0], None)]


def test_the_job_of_a_dead_worker_returns(url: str) -> None:
    """And only that one: who gave a sign of life keeps its own."""
    search, dead, living = JobTable(url, "a"), JobTable(url, "a"), JobTable(url, "a")
    search.queue(JOBS[:2], None)
    lost, kept = dead.claim(), living.claim()
    assert lost is not None
    assert kept is not None
    minutes_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    with search.engine.begin() as connection:
        connection.execute(sa.update(TABLE).values(heartbeat=minutes_ago))
    living.beat(kept)
    search.fail_silent(60)
    (failed,) = search.queue_failed()
    assert (failed.job, failed.owner, failed.error) == (lost.job, dead.owner, "no sign of life for 60 s")
    again = search.claim()
    assert again is not None
    assert again.job == lost.job
    assert [stored.owner for stored in search.find("running")] == [search.owner, living.owner]


def test_what_a_silent_worker_brings_after_all_does_not_count(url: str) -> None:
    search, silent = JobTable(url, "a"), JobTable(url, "a")
    search.queue(JOBS[:1], None)
    lost = silent.claim()
    assert lost is not None
    search.fail_silent(-3600)
    search.queue_failed()
    silent.finish(lost, after(lost.job, score=0.1))
    again = search.claim()
    assert again is not None
    silent.fail(lost, "too late")
    silent.finish(lost, after(lost.job, score=0.1))
    search.finish(again, after(again.job, score=0.9))
    assert [(one.result, one.owner) for one in search.find("done")] == [(after(JOBS[0], score=0.9), search.owner)]


def test_a_failed_job_is_there_with_its_error_and_waits_again(url: str) -> None:
    search, worker = JobTable(url, "a"), JobTable(url, "a")
    search.queue(JOBS[:1], None)
    taken = worker.claim()
    assert taken is not None
    worker.fail(taken, "Training diverged.")
    assert search.claim() is None
    (failed,) = search.queue_failed()
    assert (failed.owner, failed.error) == (worker.owner, "Training diverged.")
    assert search.claim() is not None


def test_a_storage_that_does_not_answer_any_more(url: str) -> None:
    search = JobTable(url, "a")
    search.engine.dispose()
    Path(url.removeprefix("sqlite:///")).write_text("no database, but text of some length")
    with pytest.raises(
        TrimformerError, match=r"does not answer \(file is not a database\): check the database and resume"
    ):
        search.queue(JOBS, None)
