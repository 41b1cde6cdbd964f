"""Trials of a study in SQLite: taken once, counted once, queued again where they failed."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from trimformer.errors import TrimformerError
from trimformer.search.halving import Point
from trimformer.search.training import Job
from trimformer.search.trials import Trials

POINTS = [Point(name, "", 1.0, f"0-{name}") for name in "abcdefgh"]
JOBS = [Job(0, 2, point) for point in POINTS]


def trained(job: Job, seconds: float) -> Point:
    return dataclasses.replace(job.point, score=0.5, drop=1.0, epochs=job.point.epochs + 1)


def nothing() -> None:
    pass


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_many_workers_take_each_trial_once(url: str) -> None:
    """Without the lock before the read several take the same one."""
    search = Trials(url, "a")
    search._queue(JOBS)
    taken: list[int] = []
    workers = [Trials(url, "a") for _ in range(4)]
    together = threading.Barrier(len(workers))

    def take(worker: Trials) -> None:
        together.wait()
        while (trial := worker._take()) is not None:
            taken.append(trial.number)

    threads = [threading.Thread(target=take, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(len(JOBS)))


def test_a_rung_comes_back_in_its_order_and_is_not_trained_again(url: str) -> None:
    search = Trials(url, "a")
    assert search.run(JOBS, 60, trained, nothing) == [trained(job, 0) for job in JOBS]
    assert Trials(url, "a").run(JOBS, 60, pytest.fail, nothing) == [trained(job, 0) for job in JOBS]
    later = [Job(1, 2, trained(job, 0)) for job in JOBS[:4]]
    assert [point.epochs for point in search.run(later, 60, trained, nothing)] == [2] * 4
    assert len(search.study.trials) == 12


def test_after_a_mistake_it_waits_again(url: str) -> None:
    def diverges(job: Job, seconds: float) -> Point:
        raise TrimformerError("Training diverged.")

    search = Trials(url, "a")
    with pytest.raises(TrimformerError, match="Training diverged"):
        search.run(JOBS, 60, diverges, nothing)
    assert len(search.run(JOBS, 60, trained, nothing)) == len(JOBS)
    assert [trial.state.name for trial in search.study.trials] == ["FAIL"] + ["COMPLETE"] * len(JOBS)


def test_what_a_silent_worker_brings_after_all_does_not_count(url: str) -> None:
    search, silent = Trials(url, "a"), Trials(url, "a")
    search._queue(JOBS[:1])
    search.study.set_user_attr("until", float("inf"))

    def late(job: Job, seconds: float) -> Point:
        silent.storage.set_trial_state_values(silent.study.trials[0]._trial_id, silent.state.FAIL)
        assert search.run([job], 60, trained, nothing) == [trained(job, 0)]
        return dataclasses.replace(job.point, score=0.1, drop=9.0)

    assert silent.work(late)
    assert search.run(JOBS[:1], 60, pytest.fail, nothing) == [trained(JOBS[0], 0)]
    assert [trial.state.name for trial in search.study.trials] == ["FAIL", "COMPLETE"]


def test_each_gets_its_share_of_the_time(url: str) -> None:
    seconds = []

    def timed(job: Job, share: float) -> Point:
        seconds.append(share)
        return trained(job, share)

    Trials(url, "a").run(JOBS[:4], 1e6, timed, nothing)
    assert seconds == pytest.approx([1e6 / 4, 1e6 / 3, 1e6 / 2, 1e6], rel=0.01)


def test_a_storage_that_does_not_answer_any_more(url: str) -> None:
    search = Trials(url, "a")
    search.storage.engine.dispose()
    Path(url.removeprefix("sqlite:///")).write_text("no database, but text of some length")
    with pytest.raises(TrimformerError, match=r"does not answer \(file is not a database\): mend it and resume"):
        search.run(JOBS, 60, trained, nothing)
