"""benchmarks/nas_report.py: its runs are recipes, controls get what their search has found; the table of results."""

import argparse
import importlib
import json
from pathlib import Path

import pytest

from trimformer.recipe.reading import parse

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
STAY, WHOLE = {"inputs": [100, 200, 300, 180]}, {"inputs": [312] * 4}


@pytest.fixture
def made(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    found = importlib.import_module("nas_report")
    monkeypatch.setattr(found, "FILE", tmp_path / "results.json")
    return found


def options(**others):
    return argparse.Namespace(**{"part": "inputs", "seed": 0, "runs": None, "epochs": None} | others)


def recipes(made, **others):
    """The runs that are left to do, as recipes."""
    base = {"model": "demo", "task": {"name": "rte"}, "baseline": "dense", "out": "out"}
    return {
        name: (parse(base | {"stages": stages}, "x").stages, spaces)
        for name, stages, spaces in made.runs(options(**others), "rte", "general")
    }


def methods(stages):
    return [stage.method.name for stage in stages]


def test_all_runs_end_with_the_same_training(made):
    found = recipes(made)
    assert list(found) == ["tinybert", "trained-on", "search no-cost", "search 0.5", "search 0.75", "search 1.0"]
    for stages, _ in found.values():
        assert [(stage.name, stage.method.name) for stage in stages[-2:]] == [
            ("intermediate", "finetune"), ("prediction", "finetune"),
        ]  # fmt: skip
        assert stages[-2:] == found["tinybert"][0] or stages[-2].start != found["tinybert"][0][0].start
        assert {stage.training.epochs for stage in stages} == {4}
        assert stages[0].start.checkpoint == "general"
    stages, spaces = found["search 0.5"]
    assert methods(stages) == ["nas-masks"] * 2 + ["finetune"] * 2
    assert spaces == ["inputs"]
    assert [stage.method.cut for stage in stages[:2]] == [False, True]
    assert {stage.method.target for stage in stages[:2]} == {0.5}
    assert stages[2].start.cut == "previous"
    assert found["search no-cost"][0][0].method.cost_weight == 0
    assert methods(found["trained-on"][0]) == ["finetune"] * 4
    assert found["trained-on"][0][2].start.name == "previous"  # what was trained before goes on


def test_a_control_has_as_many_dimensions_as_its_search_and_what_is_done_is_left_out(made):
    made.FILE.write_text(json.dumps({"rte search 0.5 seed 0": {"stay": STAY}, "rte tinybert seed 0": {}}))
    found = recipes(made)
    assert not {"tinybert", "search 0.5"} & set(found)
    drawn, *others = found["random 0.5"][0]
    assert drawn.method.stay == STAY
    assert others[0].start.cut == "previous"
    assert "random 0.75" not in found
    assert list(recipes(made, runs=["random 0.5"])) == ["random 0.5"]
    assert "random 0.5" not in recipes(made, seed=1)


def test_spaces_that_the_report_did_not_reach(made):
    found = recipes(made, part="others")
    assert [spaces for _, spaces in found.values()] == [["query_key", "values"], ["ffn"], ["heads"]]


def run(score, stay=None, target=None, weight=2.0):
    stages = [] if target is None else [{"method": {"name": "nas-masks", "target": target, "cost_weight": weight}}]
    seconds = {"search-intermediate": 30, "search-prediction": 10, "intermediate": 15, "prediction": 5}
    return {
        "metric": "accuracy", "scores": {"accuracy": score}, "stay": stay or {}, "whole": WHOLE if stay else {},
        "recipe": {"stages": [*stages, {"method": {"name": "finetune"}}]},
        "steps": [{"name": name, "seconds": own} for name, own in seconds.items() if stages or "search" not in name],
    }  # fmt: skip


def test_the_table(made):
    tables = importlib.import_module("nas_report_tables")
    found = {
        "general": {},
        "rte dense seed 0": run(0.7),
        "rte search 0.5 seed 0": run(0.58, STAY, 0.5),
        "rte search 0.5 seed 1": run(0.56, STAY, 0.5),
        "rte tinybert seed 0": run(0.60),
        "rte random 0.5 seed 0": run(0.57, STAY),
        "rte search no-cost seed 0": run(0.5, WHOLE, 1.0, weight=0),
    }
    _, rows = tables.runs(found)
    name = "TinyBERT's last steps, nothing cut"
    assert rows == [
        ["rte", name, "", "accuracy 60.0", "", "", "", "1", "66.7"],
        [
            "rte", "search 0.5", "0.625 ± 0.000 of 0.5, missed", "accuracy 57.0 ± 1.4", "-2.0", "+1.0", "2.0 ± 0.0",
            "2", "0.663, 64.6, -2.1",
        ],
        ["rte", "random 0.5", "0.625", "accuracy 57.0", "-3.0", "", "", "1", ""],
        ["rte", "search no-cost", "1.000", "accuracy 50.0", "-10.0", "", "2.0", "1", "0.456, 62.1, -4.6"],
    ]  # fmt: skip
    assert tables.runs({})[1] == []
