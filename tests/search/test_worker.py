"""The same search by several processes: the same result, also where some die; on one machine and on two nodes."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import fresh
from tests.command import sentence, trimformer
from tests.search.conftest import Cut, recipe, result, weights
from tests.search.test_command import DATA
from trimformer.search.run import Autopilot, run
from trimformer.search.schedule.halving import rungs
from trimformer.search.worker import Worker
from trimformer.training.loop import _Run

pytestmark = pytest.mark.usefixtures("counted")
STORAGE = "sqlite:///jobs.db"
QUICK = {
    "trimformer.search.executors.workers.HEARTBEAT": 0.5,
    "trimformer.search.executors.workers.SILENCE": 5,
    "trimformer.search.executors.workers.POLL": 0.1,
    "trimformer.search.worker.POLL": 0.1,
}


HANGS = Path("hangs")
SAID = Path("said")  # what a worker has printed at its end


def help_search(out: str, hangs: bool) -> None:
    """What another process does: `trimformer worker`, one that hangs after the first step, or one that comes then."""
    log = _Run.log

    def hang(self: Any, values: dict[str, Any]) -> None:
        log(self, values)
        HANGS.touch()
        time.sleep(600)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setattr(name, value)
        if hangs:
            patch.setattr(_Run, "log", hang)
        while not Path(f"{out}.partial").is_dir() or not (hangs or HANGS.exists()):
            time.sleep(0.1)
        SAID.write_text(trimformer("worker", out).err)


@contextlib.contextmanager
def helper(out: str, hangs: bool) -> Iterator[Any]:
    process = fresh.start(help_search, out, hangs)
    try:
        yield process
    finally:
        process.kill()
        process.join()


def first_wait(patch: pytest.MonkeyPatch, ready: Callable[[], bool], then: Callable[[], None]) -> None:
    """The search itself trains nothing before others have come so far; or it would be done before they are up."""
    train = Autopilot.train

    def waiting(self: Autopilot, job: Any, seconds: float, ground: Any) -> Any:
        if not waited:
            while not ready():
                time.sleep(0.1)
            then()
            waited.append(True)
        return train(self, job, seconds, ground)

    waited: list[bool] = []
    patch.setattr(Autopilot, "train", waiting)


def trained_in(out: str) -> bool:
    return any(Path(f"{out}.partial/work").glob("1-*/model"))


@pytest.mark.slow
def test_a_worker_helps_and_a_killed_one_is_replaced(
    home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in QUICK.items():
        monkeypatch.setattr(name, value)
    with helper("many", hangs=True) as dying, helper("many", hangs=False) as living:
        first_wait(monkeypatch, lambda: trained_in("many"), dying.kill)
        report = run(recipe("many", storage=STORAGE))
        living.join(20)
        assert living.exitcode == 0
    assert result(report) == result(whole)
    assert weights(Path("many")) == weights(Path("whole"))
    assert Path("many/metrics.jsonl").read_bytes() == Path("whole/metrics.jsonl").read_bytes()
    printed = capfd.readouterr().err
    assert "models trained by 2 workers" in printed
    assert "for many" in SAID.read_text().replace("\n", " ")

    with contextlib.closing(sqlite3.connect("jobs.db")) as database:
        jobs = database.execute("SELECT state, owner FROM trimformer_jobs").fetchall()
    trained = [point for point in report.points if point.layers is None]  # exits are learned by the search itself
    assert [state for state, _ in jobs] == ["done"] * sum(rungs(len(trained)))
    assert len({owner for _, owner in jobs}) == 2
    # The one that was killed had a job, which somebody else did.
    lost = rf"Worker \S+:{dying.pid}:\w+ has failed \(no sign of life for 5 s\); its training waits again: rung 1 of 2"
    assert len(re.findall(lost, printed)) == 1


def test_a_cut_search_goes_on_with_its_jobs(home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Autopilot.train
    trained: list[tuple[int, str]] = []

    def cut(self: Autopilot, job: Any, seconds: float, ground: Any) -> Any:
        trained.append((job.rung, job.point.name))
        if len(trained) == 3:
            raise Cut
        return train(self, job, seconds, ground)

    monkeypatch.setattr(Autopilot, "train", cut)
    with pytest.raises(Cut):
        run(recipe("again", storage="sqlite"))
    report = run(recipe("again", storage="sqlite"), resume=True)
    assert result(report) == result(whole)
    assert weights(Path("again")) == weights(Path("whole"))
    assert len(trained) == len(set(trained)) + 1  # the one that was cut


def test_a_worker_with_other_data_is_refused_and_one_holds_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose copy of a file is another; the search itself is at work meanwhile."""
    said = []

    def helped(*_: Any) -> None:
        text = Path("train.csv").read_text()
        Path("train.csv").write_text(text.replace("good,pos", "bad,pos"))
        said.append(sentence(trimformer("worker", "helped")))
        Path("train.csv").write_text(text)
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "_wait_for_search", lambda _: None)  # there is no work yet
            said.append(trimformer("worker", "helped").err)
        raise Cut

    monkeypatch.setattr(Autopilot, "_candidates", helped)
    with pytest.raises(Cut):
        run(recipe("helped", storage="sqlite"))
    assert said == [
        "The unfinished run in helped.partial cannot go on with what has changed since its start: the training rows, "
        "the selection rows; restore that, or start in a new folder.",
        "Trained 0 models for helped\n",
    ]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is not installed")
def test_two_nodes(
    home: Path, whole: Any, address: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first_wait(monkeypatch, lambda: trained_in("nodes"), lambda: None)
    report = run(recipe("nodes", ray=address))
    assert result(report) == result(whole)
    assert weights(Path("nodes")) == weights(Path("whole"))
    said = capfd.readouterr().err
    assert "Workers on 1 other node of the cluster" in said
    assert "models trained by 2 workers" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--storage", "mine"], "--storage: 'mine' is neither sqlite nor the URL of a database, such as postgresql:/"),
        (["--storage", "nonsense://host/x"], "The storage nonsense://host/x cannot be opened (Can't load plugin: sql"),
        (["--storage", "sqlite:////no/x.db"], "sqlite:////no/x.db cannot be opened (unable to open database file): u"),
        (["--storage", "nonsense://me:secret@host/x"], "The storage nonsense://me:***@host/x cannot be opened"),
    ],
)
def test_a_wrong_storage(home: Path, arguments: list[str], said: str) -> None:
    before = sorted(Path().rglob("*"))
    assert said in sentence(trimformer("compress", "bert", *DATA, "--max-drop", 1, *arguments, "--out", "wrong"))
    assert sorted(Path().rglob("*")) == before


def test_storage_belongs_to_a_budget(home: Path) -> None:
    found = trimformer("compress", "bert", *DATA, "--storage", "sqlite", "--out", "wrong")
    assert sentence(found).startswith("--storage belongs to --max-drop")


def test_sqlalchemy_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = trimformer("compress", "bert", *DATA, "--max-drop", 1, "--storage", "sqlite", "--out", "wrong")
    assert sentence(found).endswith('needs the package sqlalchemy: pip install "trimformer[search]".')


def test_nothing_to_help(home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sentence(trimformer("worker", "whole")).startswith("There is no search under way in whole.partial: start")
    monkeypatch.setattr(Autopilot, "_candidates", lambda *_: (_ for _ in ()).throw(Cut))
    with pytest.raises(Cut):
        run(recipe("alone"))
    assert sentence(trimformer("worker", "alone")) == (
        "The run in alone.partial trains in one process: only a search with --max-drop and --storage takes help."
    )
