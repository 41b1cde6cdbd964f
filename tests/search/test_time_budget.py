"""A search that has little time: what it plans, what it leaves out, and that it ends with something."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.search.conftest import Cut, recipe
from trimformer.pipeline.run_folder import RunFolder
from trimformer.search.executors.job import TrainingJob
from trimformer.search.run import Autopilot, run

pytestmark = pytest.mark.usefixtures("counted")


@pytest.mark.slow
def test_a_search_with_a_time_budget_goes_on_after_it_was_cut(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of the trainings of those that were left behind, whose weights are still needed."""
    write, train = RunFolder.write_json, Autopilot.train

    def losing(self: Autopilot, *given: Any, **others: Any) -> Any:
        return dataclasses.replace(train(self, *given, **others), drop=10.0)

    monkeypatch.setattr(Autopilot, "train", losing)

    def cutting(self: RunFolder, file: str, content: Any) -> None:
        if file == "further-2.json":
            raise Cut
        write(self, file, content)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_json", cutting)
        with pytest.raises(Cut):
            run(recipe("cut", time_budget="10h"))
    report = run(recipe("cut", time_budget="10h"), resume=True)
    assert all(Path("cut", point.folder, "model.safetensors").is_file() for point in report.points)


def test_the_plan_gives_the_dense_model_its_epochs_or_its_share(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step takes ten seconds."""
    monkeypatch.setattr(Autopilot, "_seconds_of_a_step", lambda *_: 10.0)
    monkeypatch.setattr(Autopilot, "_dense_measured", lambda *_: (_ for _ in ()).throw(Cut))
    plans = {}
    for budget in ("10h", "100s"):
        search = Autopilot(recipe(f"planned-{budget}", time_budget=budget), False)
        with search.folder.claimed():
            plans[budget] = search._planned(search.load())
    assert plans["10h"].epochs == plans["10h"].asked == 1
    assert not plans["10h"].notes
    assert plans["100s"].epochs < 1
    assert plans["100s"].dense == pytest.approx(40, rel=0.1)
    (_, said) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Plan: ")]
    assert f" s for the dense model ({plans['100s'].epochs:.2g} of 1 epochs), " in said
    assert said.endswith(" s for comparing and testing.")


def test_what_the_end_needs_is_left_to_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the time is over nobody else is trained, and all have the scores that they had before."""
    trained = []
    train = Autopilot.train

    def late(self: Autopilot, job: TrainingJob, seconds: float, ground: Any) -> Any:
        trained.append(job.point.name)
        found = train(self, job, 0.0, ground)
        self.budget.end = 0.0
        return found

    monkeypatch.setattr(Autopilot, "train", late)
    report = run(recipe("late", time_budget="1h"))
    assert len(trained) == 4
    assert all(point.epochs > 0 for point in report.points)
    assert Path("late/onnx").is_dir()


def test_a_budget_that_is_too_short_ends_in_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dense model gets one step and is exported; the report says that it was cut, and why nothing was removed.

    Of three files that could be made there are the one in fp32 and that in int8, which most often wins.
    """
    monkeypatch.setattr("trimformer.search.goals.fastest.installed", lambda: ["onnx", "openvino-bf16", "onnx-int8"])
    report = run(recipe("short", time_budget="0.001s"))
    assert {one.backend for one in report.files} == {"onnx", "onnx-int8"}
    assert report.chosen.name == "dense"
    assert any("in the time there was" in sentence for sentence in report.conclusion)
    assert any("The dense model got" in note and "of its 1 epochs" in note for note in report.notes)
    assert not report.points
    assert any("Exits were not tried: there was no time to train them" in note for note in report.notes)
    assert "Models tried" not in Path("short/frontier.html").read_text("utf-8")
