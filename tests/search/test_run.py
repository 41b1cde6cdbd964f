"""The whole search: always the same, also after a cut; blind to the validation rows; honest where nothing fits."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.command import trimformer
from tests.search.conftest import Cut, recipe, result, weights
from trimformer import load
from trimformer.errors import TrimformerError
from trimformer.lock import hold
from trimformer.pipeline import stages
from trimformer.pipeline.run_folder import RunFolder
from trimformer.report.headline import sentence
from trimformer.search import candidates
from trimformer.search.executors.job import TrainingJob
from trimformer.search.goals.base import ENOUGH
from trimformer.search.goals.fastest import Fastest
from trimformer.search.run import Autopilot, run
from trimformer.search.schedule.halving import rungs
from trimformer.search.schema import AutopilotReport

pytestmark = pytest.mark.usefixtures("counted")


def test_what_a_search_leaves(home: Path, whole: Any) -> None:
    names = {path.name for path in Path("whole").iterdir()}
    assert names == {
        "autopilot.json", "dense", "frontier.html", "metrics.jsonl", "model", "onnx", "points", "recipe.yaml",
    }  # fmt: skip
    assert not Path("whole.partial").exists()
    assert {point.name for point in whole.points} == {path.name for path in Path("whole/points").iterdir()}
    found = {point.name for point in whole.points}
    looked = {one.name for one in whole.looked}
    assert len(found & looked) == 4
    assert found - looked <= {f"{name}-exits" for name in (*looked, "dense")}
    assert whole.reference == "eager"
    assert whole.conclusion
    tried = [(one.name, one.backend) for one in whole.confirmations]
    files = {(one.name, one.backend): one for one in whole.files}
    fits = sorted((one for one in whole.files if one.inside), key=lambda one: one.ms)
    assert tried[:-1] == [(one.name, one.backend) for one in fits][: len(tried) - 1]
    assert whole.chosen == files[tried[-1]]
    assert whole.confirmations[-1].confirmed
    assert [one.confirmed for one in whole.confirmations[:-1]] == [False] * (len(tried) - 1)
    assert whole.task.n_selection == whole.confirmations[-1].n_examples == 6
    said = sentence(whole.headline, whole.task.score_name)
    assert whole.conclusion[0] == said
    assert f"<h1>{said}</h1>" in Path("whole/frontier.html").read_text("utf-8")
    card = Path("whole/model/README.md").read_text("utf-8")
    assert f"# whole/model\n\n{said} " in card
    removed = next((point.removed for point in whole.points if point.name == whole.chosen.name), "nothing")
    assert f"## What was removed\n\n{removed.capitalize()}." in card
    assert 'from_pretrained("whole/model")' in card
    assert card.count("\n| onnx") == 2
    assert (
        weights(Path("whole"))["model/model.safetensors"]
        == weights(Path("whole/points"))[f"{whole.chosen.name}/model/model.safetensors"]
    )


@pytest.mark.parametrize(
    ("name", "done"),
    [
        ("rung-1", True),
        ("compare", False),
        *(pytest.param(name, False, marks=pytest.mark.slow) for name in ("candidates", "exits", "confirm")),
    ],
)
def test_cut_and_resumed_equals_uninterrupted(
    home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch, name: str, done: bool
) -> None:
    out = f"{name}-{done}"
    with monkeypatch.context() as patch:
        write = RunFolder.write_json

        def cutting(self: RunFolder, file: str, content: Any) -> None:
            if file == f"{name}.json":
                if done:
                    write(self, file, content)
                raise Cut
            write(self, file, content)

        patch.setattr(RunFolder, "write_json", cutting)
        with pytest.raises(Cut):
            run(recipe(out))
    assert not Path(out).exists()
    again = run(recipe(out), resume=True)
    assert result(again) == result(whole)
    assert weights(Path(out)) == weights(Path("whole"))
    assert Path(out, "metrics.jsonl").read_bytes() == Path("whole/metrics.jsonl").read_bytes()


def test_only_with_what_it_was_started_with_a_search_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Autopilot, "_candidates", lambda *_: (_ for _ in ()).throw(Cut))
    with pytest.raises(Cut):
        run(recipe("mixed"))
    text = Path("dev.csv").read_text()
    Path("dev.csv").write_text(text.rsplit("\n", 2)[0] + "\n")
    with pytest.raises(TrimformerError, match="what has changed since its start: the validation rows; restore that"):
        run(recipe("mixed"), resume=True)
    Path("dev.csv").write_text(text)
    with pytest.raises(TrimformerError, match=r"since its start: autopilot\.max_drop in the recipe \(at first 5\.0\)"):
        run(recipe("mixed", max_drop=6), resume=True)
    with hold(Path("mixed.partial.lock")), pytest.raises(TrimformerError, match=r"is running and holds mixed\.partial"):
        run(recipe("mixed"), resume=True)
    with pytest.raises(Cut):
        run(recipe("mixed"), resume=True)


def test_the_validation_rows_choose_nothing(home: Path, whole: Any) -> None:
    """With their labels exchanged only the test at the end is another."""
    text = Path("dev.csv").read_text()
    Path("dev.csv").write_text(text.replace("pos", "?").replace("neg", "pos").replace("?", "neg"))
    other = run(recipe("other"))
    Path("dev.csv").write_text(text)
    report = {"comparison", "inside", "headline"}
    assert other.comparison != whole.comparison
    assert {k: v for k, v in result(other).items() if k not in report} == {
        k: v for k, v in result(whole).items() if k not in report
    }
    assert weights(Path("other")) == weights(Path("whole"))


def test_halves_are_trained_further(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, str]] = []

    def fake(self: Autopilot, job: TrainingJob, seconds: float, ground: Any) -> Any:
        """The slower, the better; all inside the budget in the end."""
        point = job.point
        trained.append((job.rung, point.name))
        return dataclasses.replace(point, score=0.5, drop=1 / point.price, epochs=point.epochs + 1)

    monkeypatch.setattr(Autopilot, "train", fake)
    report = run(recipe("halved", max_drop=1e3))
    fastest = [point.name for point in sorted(report.points, key=lambda one: one.ms) if point.layers is None]
    assert trained == [(rung, name) for rung, size in enumerate(rungs(len(fastest))) for name in fastest[:size]]


def test_who_was_left_behind_does_not_come_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though those that went on turn out to lose more."""
    trained: dict[int, set[str]] = {}

    def fake(self: Autopilot, job: TrainingJob, seconds: float, ground: Any) -> Any:
        trained.setdefault(job.rung, set()).add(job.point.name)
        return dataclasses.replace(job.point, score=0.5, drop=30.0 * (1 + job.rung))

    monkeypatch.setattr(Autopilot, "train", fake)
    run(recipe("left"))
    assert [len(names) for names in trained.values()] == [4, 2]
    assert trained[1] < trained[0]


def test_who_was_left_behind_is_trained_on_where_there_is_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, str]] = []

    def fake(self: Autopilot, job: TrainingJob, seconds: float, ground: Any) -> Any:
        trained.append((job.rung, job.point.name))
        return dataclasses.replace(job.point, score=0.5, drop=10.0, epochs=job.point.epochs + 1)

    monkeypatch.setattr(Autopilot, "train", fake)
    report = run(recipe("longer", time_budget="10h"))
    assert len(trained) == len(set(trained)) == 2 * len(report.looked)
    assert {name for _, name in trained} == {point.name for point in report.points if point.layers is None}
    assert ENOUGH in report.notes


def test_rungs_go_on_in_the_order_of_the_rows_where_the_dense_model_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, float]] = []
    train = stages.train
    monkeypatch.setattr(stages, "train", lambda *a, **k: (begun.append((k["title"], k["begin"])), train(*a, **k))[1])
    monkeypatch.setattr("trimformer.search.goals.fastest.add_exits", lambda *_: (_ for _ in ()).throw(Cut))
    with pytest.raises(Cut):
        run(recipe("ordered"))
    assert begun[0] == ("dense", 0.0)
    first = int(5 * 2 / 3) / 5  # a third of two epochs, of 5 batches each
    assert [begin for _, begin in begun[1:]] == pytest.approx([1.0] * 4 + [1.0 + first] * 2)


@pytest.mark.parametrize(("where", "cut", "smaller"), [(Autopilot, "_rung", False), (Fastest, "_compare", True)])
def test_whoever_stops_a_search_has_the_best_by_then(
    home: Path, monkeypatch: pytest.MonkeyPatch, where: Any, cut: str, smaller: bool
) -> None:
    """The dense model as long as nothing is inside the budget; training brings all of these inside."""
    monkeypatch.setattr(Autopilot, "train", lambda self, job, *_, **__: dataclasses.replace(job.point, drop=1.0))
    monkeypatch.setattr(where, cut, lambda *_: (_ for _ in ()).throw(Cut))
    with pytest.raises(Cut):
        run(recipe(f"stopped{cut}"))
    found = Path(f"stopped{cut}.partial")
    shapes, dense = (load(found / place / "model").config.shapes for place in ("best", "dense"))
    assert (shapes != dense) == smaller
    assert [file.suffix for file in (found / "best/onnx").iterdir() if file.suffix == ".onnx"] == [".onnx"]


def test_without_training(home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Autopilot, "train", lambda *_: pytest.fail("trained"))
    found = trimformer(
        "compress", "whole/dense/model", "--train", "train.csv", "--validation", "dev.csv", "--text", "review",
        "--label", "stars", "--post-training", "--max-drop", 50, "--fine-tune", "never", "--out", "fitted",
    )  # fmt: skip
    assert found.code == 0, found.err
    assert "fitted to the dense model in closed form" in " ".join(found.out.split())
    report = AutopilotReport.model_validate_json(Path("fitted/autopilot.json").read_text())
    assert len(report.points) == 2
    assert not any(point.epochs for point in report.points)
    assert all(len(load(Path("fitted", point.folder)).config.shapes) == 3 for point in report.points)


def fitted_recipe(out: str, **changes: Any) -> Any:
    """A search without training in the dense model of another one, with time for everything."""
    budget = {"max_drop": 50.0, "post_training": True, "time_budget": "10h"} | changes
    return recipe(out, **budget).model_copy(update={"model": "whole/dense/model", "fine_tune": "never"})


def test_without_training_cut_and_resumed_equals_uninterrupted(
    home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second look, when the first one is inside the budget and has been left for whoever stops here."""
    uninterrupted = run(fitted_recipe("fitted-whole"))
    assert len(uninterrupted.looked) > 1
    assert ENOUGH in uninterrupted.notes
    looks: list[str] = []

    def cutting(search: Any, goal: Any, one: Any, *given: Any) -> Any:
        looks.append(one.combination.name)
        if len(looks) == 2:
            raise Cut
        return look(search, goal, one, *given)

    look = candidates._look
    with monkeypatch.context() as patch:
        patch.setattr(candidates, "_look", cutting)
        with pytest.raises(Cut):
            run(fitted_recipe("fitted-cut"))
    best, first = (Path("fitted-cut.partial", *place) for place in (("best",), ("work", f"0-{looks[0]}")))
    assert weights(best) == weights(first)
    assert (best / "onnx").is_dir()
    assert result(run(fitted_recipe("fitted-cut"), resume=True)) == result(uninterrupted)
    assert weights(Path("fitted-cut")) == weights(Path("fitted-whole"))


def test_who_stops_a_search_is_told_where_the_best_is(home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fastest, "_compare", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    found = trimformer(
        "compress", "whole/dense/model", "--train", "train.csv", "--validation", "dev.csv", "--text", "review",
        "--label", "stars", "--post-training", "--max-drop", 50, "--fine-tune", "never", "--out", "told",
    )  # fmt: skip
    assert found.code == 130
    assert "Go on with: trimformer run told.partial/recipe.yaml --resume" in found.err
    assert "The best model by now and its file are in told.partial/best" in found.err
    assert load(Path("told.partial/best/model")).config.shapes != load(Path("whole/dense/model")).config.shapes


def test_looks_that_the_time_cut_short_are_said(home: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    look = candidates._look

    def slow(search: Any, *given: Any) -> Any:
        found = look(search, *given)
        search.budget.end = 0.0
        search.budget.clock = lambda: 1e12
        return found

    monkeypatch.setattr(candidates, "_look", slow)
    report = run(fitted_recipe("hurried"))
    assert len(report.looked) == 1
    assert (
        "1 combination was looked at in the time there was: a longer --time-budget looks for a better one among others."
    ) in report.notes
    assert ENOUGH not in report.notes


def test_without_training_and_without_labels(home: Path, whole: Any) -> None:
    with Path("dev.csv").open() as file:
        texts = [row["review"] for row in csv.DictReader(file)]
    Path("texts.txt").write_text("\n".join(texts * 3))
    found = trimformer("compress", "whole/dense/model", "--train", "texts.txt", "--post-training", "--out", "texts")
    assert found.code == 0, found.err
    assert "scores are agreement with the dense model's own answers" in " ".join(found.out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "has no head for a task, and with post-training nothing is trained: fine-tune it first"),
        (["--epochs", 3], "--epochs has no meaning with --post-training, which trains nothing"),
        (["--keep-layers", 3], "--keep-layers has no meaning with --post-training"),
        (["--storage", "sqlite"], "nothing is trained that anybody could help with"),
        (["--fine-tune", "always"], "always trains the dense model, and with post-training nothing is trained"),
    ],
)
def test_what_post_training_refuses(home: Path, options: list[Any], said: str) -> None:
    data = ["--train", "train.csv", "--text", "review", "--label", "stars"]
    found = trimformer("compress", "bert", *data, "--post-training", *options, "--out", "refused")
    assert found.code == 2
    assert said in " ".join(found.err.split())
    assert not Path("refused.partial").exists()


def fails(self: Autopilot, job: TrainingJob, seconds: float, ground: Any) -> Any:
    """A training after which the model still loses ten points."""
    return dataclasses.replace(job.point, score=ground.exact.score - 0.1, drop=10.0, epochs=1)


def test_nothing_inside_the_budget(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Autopilot, "train", fails)
    data = ["--train", "train.csv", "--validation", "dev.csv", "--text", "review", "--label", "stars"]
    options = ["--max-drop", 0.5, "--min-speedup", 100, "--length", 8]
    found = trimformer("compress", "bert", *data, *options, "--out", "missed")
    assert found.code == 0, found.err
    said = " ".join(found.out.split())
    assert "No model from which something was removed stayed inside the budget of 0.5 points" in said
    assert "which loses 10.00 points" in said
    assert "it takes --max-drop 10, or more --epochs and time." in said
    assert "That is less than the 100× asked for, which nothing reached." in said
    assert Path("missed/points").is_dir()
    report = AutopilotReport.model_validate_json(Path("missed/autopilot.json").read_text())
    assert not any(point.layers for point in report.points)
    assert any("Exits were not tried: random ids of 8 tokens are timed" in note for note in report.notes)


def test_an_encoder_that_was_trimmed_before(home: Path) -> None:
    assert trimformer("trim", "bert", "--attention", "0=none,2=mean", "--out", "smaller").code == 0
    report = run(recipe("further").model_copy(update={"model": "smaller"}))
    shapes = [load(Path("further", point.folder)).config.shapes for point in report.points]
    assert shapes
    assert all(found[0].attention != "full" != found[-1].attention for found in shapes if len(found) == 3)
