"""Runs that study the positions of attention, or learn a mask of them, on plain text."""

import json

import pytest
import torch

from tests.command import trimformer
from tests.pipeline.test_plain_text import SHAPE, recipe
from trimformer import TrimformerError, load, study_positions
from trimformer.pipeline.run import run
from trimformer.report.schema import Report
from trimformer.training.settings import TrainingSettings


def test_a_study_reports_the_importance_of_each_position(home):
    training = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)
    out = home / "study"
    report = study_positions(home / "mlm", [home / "texts.txt"], out, max_length=16, per_layer=True, training=training)
    found = report.positions["study"]
    assert (found.length, found.special) == (16, [0, 15])  # rows are full: the separator is always the last
    assert [one.layer for one in found.maps] == [0, 1]
    for one in found.maps:
        assert sum(group.positions for group in one.groups) == 16**2
        assert all(0 < group.low <= group.mean <= group.high < 1 for group in one.groups)
    assert {curve.name for curve in report.curves} == {f"importance: {group.name}" for group in found.maps[0].groups}
    assert Report.model_validate_json((out / "report.json").read_text()).positions == report.positions
    page = (out / "report.html").read_text()
    assert "Importance of positions in study" in page
    assert "Mean importance of kinds of positions, of layer 1" in page
    assert {shape.attention for shape in load(out / "model").config.shapes} == {"full"}


def test_the_verb_studies_a_fresh_encoder(home, monkeypatch):
    monkeypatch.chdir(home)
    words = ["study", "positions", "mlm", "--texts", "texts.txt", "--max-length", "16", "--shape", "bert-tiny"]
    result = trimformer(*words, "--epochs", "1", "--batch-size", "8", "--out", "fresh", "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    (one,) = report["positions"]["study"]["maps"]
    assert one["layer"] is None
    assert len(one["values"]) == 16
    assert load(home / "fresh/model").config.hidden_size == 128


@pytest.mark.parametrize("start", ["dense", {"name": "student", "shape": SHAPE}], ids=["continued", "from scratch"])
def test_a_mask_is_learned_then_fixed_while_the_weights_are_tuned(home, start):
    mask = {"method": {"name": "dam", "special": False, "penalty": 1e-3}, "start": start}
    report = run(recipe(home, "mlm", mask, {}, task={"packed": True}))
    shapes = load(home / "out/model").config.shapes
    assert {shape.attention for shape in shapes} == {"sparse"}
    kept = [shape.own["pattern"]["offsets"] for shape in shapes]
    assert all(own == kept[0] for own in kept)
    n, entries = 16, sum(len([(i, j) for i in range(16) for j in range(16) if abs(i - j) in own]) for own in kept[0])
    (curve,) = [curve for curve in report.curves if curve.name == "sparsity"]
    assert curve.points[-1].value == pytest.approx(1 - entries / (2 * n * n))
    assert any("positions of a text of 16 tokens" in note for note in report.notes)
    assert report.method.startswith("student" if start != "dense" else "dam, structured")


def test_pre_training_goes_on_from_a_checkpoint_and_begins_from_scratch(home):
    """Plain masked tokens, without a teacher: the held-out loss falls."""
    for name, start in (("more", "dense"), ("scratch", {"name": "student", "shape": SHAPE})):
        training = {"epochs": 12, "batch_size": 8, "learning_rate": 5e-3}
        report = run(recipe(home, "mlm", {"start": start, "training": training}, out=str(home / name)))
        trimmed = report.variant("trimmed")
        assert trimmed.scores["loss"] < torch.log(torch.tensor(30.0))  # that of guessing among the words
    assert load(home / "scratch/model").config.hidden_size == SHAPE["hidden"]


def test_what_cannot_be_masked_is_refused_before_any_work(home):
    first = {"method": {"name": "last-k", "keep_layers": 0}, "start": "dense"}
    with pytest.raises(TrimformerError, match="Stage stage1: No layer of this encoder has full attention"):
        run(recipe(home, "mlm", first, {"method": {"name": "dam"}}))
    assert not (home / "out.partial").exists()
