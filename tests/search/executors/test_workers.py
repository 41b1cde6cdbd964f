"""A rung by this process and its workers: in order, once, in time, and with what went wrong."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import pytest

from trimformer.errors import TrimformerError
from trimformer.search.executors.job import Train, TrainingJob
from trimformer.search.executors.table import JobTable
from trimformer.search.executors.workers import train_next, with_workers
from trimformer.search.schedule.halving import Point

JOBS = [TrainingJob(0, 2, Point(name, "", 1.0, f"0-{name}")) for name in "abcdefgh"]


def trained(job: TrainingJob, seconds: float) -> Point:
    return dataclasses.replace(job.point, score=0.5, drop=1.0, epochs=job.point.epochs + 1)


def diverges(job: TrainingJob, seconds: float) -> Point:
    raise TrimformerError("Training diverged.")


def nothing() -> None:
    pass


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


def rung(table: JobTable, jobs: list[TrainingJob], train: Train, seconds: float = math.inf) -> list[Point]:
    return with_workers(table, jobs, seconds, train, nothing)


def test_a_rung_comes_back_in_its_order_and_is_not_trained_again(url: str) -> None:
    search = JobTable(url, "a")
    assert rung(search, JOBS, trained) == [trained(job, 0) for job in JOBS]
    assert rung(JobTable(url, "a"), JOBS, pytest.fail) == [trained(job, 0) for job in JOBS]
    later = [TrainingJob(1, 2, trained(job, 0)) for job in reversed(JOBS[:4])]
    assert [(point.name, point.epochs) for point in rung(search, later, trained)] == [(name, 2) for name in "dcba"]
    assert len(search.find()) == 12


def test_after_a_mistake_it_waits_again(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    search = JobTable(url, "a")
    with pytest.raises(TrimformerError, match="Training diverged"):
        rung(search, JOBS, diverges)
    assert [(stored.job, stored.error) for stored in search.find("failed")] == [(JOBS[0], "Training diverged.")]
    assert len(rung(search, JOBS, trained)) == len(JOBS)
    said = capfd.readouterr().err
    assert f"Worker {search.owner} has failed (Training diverged); its training waits again: rung 1 of 2, a" in said


def test_a_worker_that_is_stopped_gives_its_job_back(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    def stopped(job: TrainingJob, seconds: float) -> Point:
        raise KeyboardInterrupt

    search, worker = JobTable(url, "a"), JobTable(url, "a")
    search.queue(JOBS[:2], None)
    with pytest.raises(KeyboardInterrupt):
        train_next(worker, stopped)
    assert rung(search, JOBS[:2], trained) == [trained(job, 0) for job in JOBS[:2]]
    said = capfd.readouterr().err
    assert f"Worker {worker.owner} has failed (KeyboardInterrupt)" in said
    assert "models trained by" not in said


def test_what_a_silent_worker_brings_after_all_does_not_count(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    search, silent = JobTable(url, "a"), JobTable(url, "a")
    search.queue(JOBS[:1], None)
    monkeypatch.setattr("trimformer.search.executors.workers.SILENCE", -3600)

    def late(job: TrainingJob, seconds: float) -> Point:
        assert rung(search, [job], trained) == [trained(job, 0)]
        return dataclasses.replace(job.point, score=0.1, drop=9.0)

    assert train_next(silent, late)
    assert rung(search, JOBS[:1], pytest.fail) == [trained(JOBS[0], 0)]


def test_who_trains_gives_signs_of_life(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    monkeypatch.setattr("trimformer.search.executors.workers.HEARTBEAT", 0.01)
    monkeypatch.setattr(JobTable, "beat", lambda self, taken: beats.append(taken.id))

    def slow(job: TrainingJob, seconds: float) -> Point:
        while len(beats) < 2:
            time.sleep(0.01)
        return trained(job, seconds)

    assert len(rung(JobTable(url, "a"), JOBS[:1], slow)) == 1
    assert set(beats) == {1}


def test_each_gets_its_share_of_the_time(url: str) -> None:
    seconds = []

    def timed(job: TrainingJob, share: float) -> Point:
        seconds.append(share)
        return trained(job, share)

    rung(JobTable(url, "a"), JOBS[:4], timed, 1e6)
    assert seconds == pytest.approx([1e6 / 4, 1e6 / 3, 1e6 / 2, 1e6], rel=0.01)
    seconds.clear()
    rung(JobTable(url, "b"), JOBS[:2], timed)
    assert seconds == [math.inf, math.inf]
