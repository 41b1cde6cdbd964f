"""What a stage hands on: gates by which another model is cut, and masks with which the next search goes on."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from tests.learning import context, make_method
from tests.tinymodel import write_csv, write_stock_bert
from trimformer import Gates, TrimformerError, load
from trimformer.methods.handed import FILE, gates_in, named_gates, read_handed, write_handed
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.report import charts
from trimformer.starts import STARTS


def test_gates_are_read_as_they_were_written(tmp_path):
    gates = Gates(inputs=torch.eye(3), ffn=[torch.full((2 + index,), float(index)) for index in range(12)])
    write_handed(tmp_path, named_gates(gates) | {"alpha.x": torch.ones(1)})
    again = gates_in(read_handed(tmp_path))
    assert again.given.keys() == gates.given.keys()
    assert all(torch.equal(one, other) for point in ("inputs", "ffn") for one, other in zip(
        getattr(gates, point), getattr(again, point), strict=True
    ))  # fmt: skip
    assert read_handed(tmp_path / "other") == {}
    (tmp_path / FILE).write_bytes(b"no")
    with pytest.raises(TrimformerError, match="is damaged: delete the folder"):
        read_handed(tmp_path)


def test_a_search_goes_on_with_the_masks_of_the_one_before():
    stage = context()
    first = make_method("nas-masks", stage, target=0.6, cut=False)
    first.turn({})
    left = first.result()
    assert left.model.config.shapes == stage.model.config.shapes
    assert not gates_in(left.handed).given
    stage = dataclasses.replace(context(), handed=left.handed)
    second = make_method("nas-masks", stage, target=0.6)
    assert all(torch.equal(a, b) for a, b in zip(first.masks.parameters(), second.masks.parameters(), strict=True))
    assert gates_in(second.result().handed).given.keys() == {"inputs"}
    with pytest.raises(TrimformerError, match="The stage before has other masks"):
        make_method("nas-masks", stage, target=0.6, spaces=["ffn"])


def recipe(method):
    training = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3}
    search = {"name": "nas-masks", "target": 0.5, "tolerance": 0.3}
    general = {"name": "student", "checkpoint": "general"}
    stages = [
        {"name": "first", "start": general, "method": search | {"cut": method is not None}},
        {"name": "second", "method": method or search},
        {"name": "anew", "start": general | {"cut": "previous"}, "method": {"name": "finetune"}},
    ]
    return parse(
        {
            "model": "bert",
            "task": {"data": "data.csv", "text": "review", "label": "stars"},
            "out": "out",
            "precision": "fp32",  # that of the other tests here
            "dense": training,
            "stages": [stage | {"objective": {"logits": 1.0}, "training": training} for stage in stages],
            "measure": {"backends": ["torch"], "batch": [1], "length": [8]},
            "export": {"onnx": False},
        },
        "x",
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_stock_bert(tmp_path / "bert")
    write_stock_bert(tmp_path / "general")
    write_csv(tmp_path / "data.csv")
    return tmp_path


def test_the_student_starts_anew_in_the_shape_that_the_search_found(home):
    report = run(recipe(None))
    assert "student from general, cut as the search found" in report.method
    found = next(note for note in report.notes if note.startswith("second: inputs that stay"))
    kept = [len(shape.reads or range(16)) for shape in load("out/model").config.shapes]
    assert kept == [max(1, int(one)) for one in re.findall(r"(\d+) of 16", found)]  # a layer reads one at least
    titles = [chart.title for chart in charts.curves(report)]
    assert titles == ["first: cost", "first: alpha inputs", "second: cost", "second: alpha inputs"]
    assert "The target there is 0.500." in charts.curves(report)[0].alternative


def test_the_control_starts_anew_without_what_was_drawn(home):
    made = recipe({"name": "random-dimensions", "stay": {"inputs": [5, 9]}})
    first = made.stages.pop(0)
    made.stages[0].start = first.start
    report = run(made)
    assert [len(shape.reads) for shape in load("out/model").config.shapes] == [5, 9]
    assert any(note.endswith("drawn at random, first layer first: 5 of 16, 9 of 16.") for note in report.notes)


def test_a_stage_that_hands_on_no_gates_is_refused_before_any_training(home):
    with pytest.raises(TrimformerError, match=r"Stage anew: start\.cut: the stage before does not hand on what can go"):
        run(recipe({"name": "finetune"}))
    wrong = recipe(None)
    wrong.stages[1:] = wrong.stages[2:]
    with pytest.raises(TrimformerError, match="Stage first: cut: false leaves the model whole, and no next stage of"):
        run(wrong)
    with pytest.raises(ValueError, match="cut belongs to a checkpoint"):
        STARTS["student"].Settings(layers=[0], cut="previous")


def test_a_checkpoint_of_another_shape_is_refused_before_any_training(home):
    write_stock_bert(home / "other", layers=3)
    wrong = recipe(None)
    wrong.stages[2].start.checkpoint = "other"
    with pytest.raises(
        TrimformerError, match=r"Stage anew: start\.cut: the layers of other differ in number or inputs"
    ):
        run(wrong)
    assert not (home / "out.partial/work").exists()


def test_one_mask_for_all_layers_is_handed_on(tmp_path):
    shared = torch.ones(4)
    write_handed(tmp_path, named_gates(Gates(inputs=[shared] * 3)))
    assert [own.tolist() for own in gates_in(read_handed(tmp_path)).inputs] == [[1.0] * 4] * 3
