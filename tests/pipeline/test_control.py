"""The dense model, trained for as long as the trimmed one: which trainings it gets, and what is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import sentence, trimformer
from tests.tinymodel import write_csv, write_stock_bert
from trimformer.errors import TrimformerError
from trimformer.pipeline.control import check_control, control_stages, lineage
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.recipe.settings import Recipe
from trimformer.recipe.standard import standard_recipe
from trimformer.report.schema import Report
from trimformer.tasks.settings import TaskSettings
from trimformer_cli.groups import MethodOptions

LAST_K = {"name": "last-k", "keep_layers": 1}


def recipe(*stages: dict[str, Any], **others: Any) -> Recipe:
    named = [{"name": f"s{number}", "method": {"name": "finetune"}} | stage for number, stage in enumerate(stages)]
    return parse({"model": "m", "task": {}, "out": "o", "stages": named, "control": "dense"} | others, "x")


def test_the_same_trainings_without_what_they_remove() -> None:
    settings = TaskSettings(name="sentiment")
    found = control_stages(standard_recipe("m", settings, "o", method={"name": "attendout", "keep_layers": 1}))
    assert [stage.name for stage in found.values()] == ["control: search", "control: repair"]
    search, repair = found.values()
    assert [stage.method.name for stage in found.values()] == ["finetune", "finetune"]
    assert [stage.start.name for stage in found.values()] == ["dense", "previous"]
    assert (search.training.keep_best, repair.training.keep_best) == (False, True)
    assert (repair.objective.logits, repair.objective.hidden, search.objective.needs_teacher) == (1, 1, False)


def test_only_what_led_to_the_result_counts() -> None:
    again = recipe({}, {"method": LAST_K, "start": "pretrained"}, {"objective": {"logits": 1, "layer_map": [1]}})
    assert lineage(again) == [1, 2]
    found = control_stages(again)
    assert list(found) == [2]  # last-k trains nothing
    assert (found[2].start.name, found[2].objective.layer_map) == ("pretrained", None)
    assert lineage(recipe({}, {"start": "dense"}, {})) == [1, 2]


def test_where_nothing_is_trained_there_is_no_control() -> None:
    with pytest.raises(TrimformerError, match="which no stage trains here: leave it out"):
        check_control(recipe({"method": LAST_K}))
    check_control(recipe({"method": LAST_K}, control=None))
    with pytest.raises(TrimformerError, match="an autopilot trains no control"):
        recipe(autopilot={"max_drop": 1}, stages=[])


def test_the_option_is_of_the_run_where_it_names_the_dense_model() -> None:
    assert MethodOptions("last-k", 1, control="dense").settings() == LAST_K
    assert MethodOptions("last-k", 1, control="dense").dense_control == "dense"
    reverse = MethodOptions(keep_layers=1, control="reversed")
    assert (reverse.settings()["control"], reverse.dense_control) == ("reversed", None)


def test_with_a_budget_there_is_no_control(tmp_path: Path) -> None:
    data = ["--train", tmp_path / "t.csv", "--max-drop", 1, "--control", "dense", "--out", tmp_path / "o"]
    assert "--control has no meaning with --max-drop" in sentence(trimformer("compress", "m", *data))


def test_a_run_with_a_control(tmp_path: Path) -> None:
    write_stock_bert(tmp_path / "bert")
    write_csv(tmp_path / "data.csv")
    training = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3}
    content = {
        "model": str(tmp_path / "bert"),
        "task": {"data": str(tmp_path / "data.csv"), "text": "review", "label": "stars", "train_limit": 32},
        "out": str(tmp_path / "out"),
        "dense": training | {"epochs": 1},
        "stages": [
            {"name": "search", "method": LAST_K},
            {"name": "repair", "method": {"name": "finetune"}, "objective": {"logits": 1}, "training": training},
        ],
        "control": "dense",
        "measure": {"batch": [1], "length": [8], "backends": ["torch"], "resamples": 100},
        "export": {"onnx": False},
    }
    report = run(parse(content, "x"))
    assert report.training is not None
    assert report.training.model_dump() == {"epochs": 2, "distilled": 2, "on_top": True, "dense_epochs": 1}
    dense = report.variant("dense")
    assert report.control is not None
    assert dense is not None
    assert report.control.comparison.n_examples == dense.n_examples
    assert [step.name for step in report.steps][-3:] == ["control: repair", "export", "measure"]
    assert "control: repair: step" in report.training_cost
    logged = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    steps = {
        name: max(line["step"] for line in logged if line["stage"] == name) for name in ("repair", "control: repair")
    }
    assert steps["repair"] == steps["control: repair"]
    columns = ["--data", tmp_path / "data.csv", "--text", "review", "--label", "stars", "--json"]
    scored = json.loads(trimformer("evaluate", tmp_path / "out/control/model", *columns).out)
    assert scored["scores"]["accuracy"] == report.control.score
    assert Report.model_validate_json((tmp_path / "out/report.json").read_text()) == report
    assert "Trained for as long as the trimmed model" in (tmp_path / "out/report.html").read_text()
    assert "Trained for as long as the trimmed model" in (tmp_path / "out/model/README.md").read_text()
