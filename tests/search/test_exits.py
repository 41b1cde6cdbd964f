"""Exits on top of what a search found: who gets them, by which rows they are chosen, and when they are left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.search.conftest import Cut, recipe, result, weights
from tests.tinymodel import texts
from trimformer import Predictor
from trimformer.deploy.export import export
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.search import exits
from trimformer.search.run import Autopilot, run
from trimformer.search.schedule.budget import TimeBudget
from trimformer.search.schedule.estimates import Estimates
from trimformer.search.schedule.halving import Point
from trimformer.search.schema import AutopilotReport

LAYERS = 3
TOOK = Estimates(seconds=60, backends=6, files=4, speed=20, selection=100, learned=400, exits=2)


def harmful(self: Autopilot, job: Any, seconds: float, ground: Any) -> Any:
    """Whatever is removed loses more than the budget."""
    return dataclasses.replace(job.point, score=0.5, drop=50.0, epochs=1)


@pytest.fixture(scope="module")
def early(home: Path, counted: None) -> AutopilotReport:
    """A search in which only the dense model is inside the budget, and whose chosen file has exits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autopilot, "train", harmful)
        return run(recipe("early", max_drop=10.0))


def test_the_chosen_file_has_exits_and_the_report_says_what_texts_need(early: AutopilotReport) -> None:
    assert early.chosen.name == "dense-exits"
    point = next(point for point in early.points if point.name == "dense-exits")
    assert point.removed.startswith("exits after layers 1, 2; texts leave after ")
    assert point.inside
    assert point.layers is not None
    assert 1 <= point.layers < LAYERS
    assert early.chosen.executed is not None
    assert len(early.chosen.executed) == LAYERS
    said = " ".join(early.conclusion)
    assert "Texts leave it early: " in said
    assert f"of {LAYERS} layers" in said
    assert "Its exits learned from its own last answers" in said
    assert "is not known, because no control" not in said
    assert early.headline is not None
    assert early.headline.early
    assert "texts leave after" in Path("early/frontier.html").read_text("utf-8")
    assert AutopilotReport.model_validate_json(Path("early/autopilot.json").read_text()) == early
    config = load_with_head("early/model").config
    assert config.exits is not None
    assert config.exits["after"] == [0, 1]


def test_the_layers_beneath_are_those_of_the_dense_model(early: AutopilotReport) -> None:
    dense, chosen = (load_with_head(f"early/{place}").state_dict() for place in ("dense/model", "model"))
    assert all((value == chosen[name]).all() for name, value in dense.items())
    assert {name.partition(".")[0] for name in chosen.keys() - dense.keys()} == {"exits"}


def test_cut_while_exits_learn_and_resumed(home: Path, early: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Autopilot, "train", harmful)
    with monkeypatch.context() as patch:
        patch.setattr(exits, "predict_logits", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            run(recipe("again", max_drop=10.0))
    again = run(recipe("again", max_drop=10.0), resume=True)
    assert result(again) == result(early)
    assert weights(Path("again")) == weights(Path("early"))


def test_the_exported_folder_answers_texts_alone_as_in_a_batch(early: AutopilotReport, tmp_path: Path) -> None:
    model = load_with_head("early/model")
    export(model, tmp_path / "onnx", tokenizer=load_tokenizer("early/model"))
    lines = [text for text, _ in texts(12)]
    predictor = Predictor(tmp_path / "onnx", backend="onnx")
    together = predictor.predict(lines)
    alone = [predictor.predict([line])[0] for line in lines]
    assert [one.label for one in together] == [one.label for one in alone]
    np.testing.assert_allclose([one.score for one in together], [one.score for one in alone], atol=1e-5)


def search(
    kind: str = "classification", length: int | None = None, seconds: float | None = None, **settings: Any
) -> Any:
    measured = SimpleNamespace(length=None if length is None else [length])
    return SimpleNamespace(
        recipe=SimpleNamespace(measure=measured),
        settings=SimpleNamespace(**{"post_training": False, "max_drop": 0.5} | settings),
        budget=TimeBudget(seconds, clock=lambda: 0.0),
        kind=kind,
    )


@pytest.mark.parametrize(
    ("given", "layers", "why"),
    [
        ({}, 3, ""),
        ({}, 2, "fewer than 3 layers"),
        ({"kind": "regression"}, 3, "a number has no entropy"),
        ({"kind": "spans"}, 3, "the first and the last token of an answer"),
        ({"length": 8}, 3, "random ids of 8 tokens are timed"),
        ({"post_training": True}, 3, "--post-training trains nothing"),
        ({"seconds": 1000}, 3, ""),
        ({"seconds": 150}, 3, "there was no time to train them"),
    ],
)
def test_why_a_search_tries_no_exits(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], layers: int, why: str
) -> None:
    one = search(**given)
    monkeypatch.setattr(exits, "_layers", lambda _: layers)
    ground: Any = SimpleNamespace(inputs=SimpleNamespace(task=SimpleNamespace(kind=one.kind)), dense=None)
    found = exits.refused(one, ground, TOOK)
    assert why in found
    assert bool(found) == bool(why)


def test_a_model_that_lost_the_whole_budget_has_nothing_left_for_exits() -> None:
    """A drop of half a point comes out a little above it for most scores."""
    point = Point("a", "", 1.0, "a", score=0.5, drop=0.5000000000000004)
    assert exits.left_of(0.5, point) == 0
    assert exits.left_of(0.5, dataclasses.replace(point, drop=0.2)) == pytest.approx(0.3)


def test_exits_get_no_time_that_the_end_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    one = search(seconds=TOOK.measuring(0) + 1)
    one.folder = SimpleNamespace(kept=lambda name, of, work: exits.WithExits(**work()))
    monkeypatch.setattr(exits, "_with_exits", lambda *_: pytest.fail("trained"))
    ground: Any = SimpleNamespace(exact=SimpleNamespace(ms=1.0, score=0.9))
    found = exits.add_exits(one, [], ground, TOOK)
    assert not found.points
    assert found.notes == [f"dense got no exits: {exits.NO_TIME}."]
