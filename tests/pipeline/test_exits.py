"""A run whose last stage learns exits, and what is done with what it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command import trimformer
from tests.tinymodel import write_csv, write_scores, write_stock_bert
from trimformer import TrimformerError, evaluate, load
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.explanation.explain import exit_notes
from trimformer.pipeline.control import control_stages
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.report.report import html
from trimformer.report.schema import Report
from trimformer.report.summary import exit_words
from trimformer.tasks.encode import read_rows
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_validation
from trimformer.training.scale import Scale

TRAINING = {"epochs": 4, "batch_size": 16, "learning_rate": 3e-3}
TASK = {"data": "data.csv", "text": "review", "label": "stars"}


def recipe(out: str, *stages: dict[str, Any], **others: Any) -> Any:
    content = {
        "model": "bert", "task": TASK, "out": out, "dense": TRAINING, "stages": list(stages),
        "measure": {"batch": [1], "length": [8], "backends": ["torch"]}, "export": {"onnx": False}, **others,
    }  # fmt: skip
    return parse(content, "x")


def stage(name: str, start: str = "dense", **method: Any) -> dict[str, Any]:
    return {"name": name, "method": {"name": name, **method}, "start": start, "training": TRAINING}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with a model of four layers and data."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_stock_bert(folder / "bert", layers=4)
        write_csv(folder / "data.csv", 120)
        write_scores(folder / "scores.jsonl", 120)
        yield folder


@pytest.fixture(scope="module")
def report(home: Path) -> Report:
    return run(recipe("out", stage("deebert", max_drop=20.0)))


def test_the_report_says_how_many_layers_texts_go_through(report: Report) -> None:
    dense, trimmed = report.variants
    assert (dense.executed, dense.mean_executed) == (None, None)
    assert trimmed.executed is not None
    assert sum(trimmed.executed) == trimmed.n_examples
    assert trimmed.mean_executed < 4
    assert trimmed.params > dense.params
    assert trimmed.flops_per_example < dense.flops_per_example
    assert "of 4 layers" in exit_words(report)
    found = report.exits["deebert"]
    assert found.points[found.chosen].flops < found.points[0].flops
    page = html(report)
    assert "Exits of deebert" in page
    assert "Layers that a text goes through, mean" in page
    assert any("a text leaves where the entropy" in note for note in report.notes)


def test_evaluate_and_inspect_say_it_too(report: Report) -> None:
    found = evaluate("out/model", TASK)
    trimmed = report.variants[1]
    assert found.executed == trimmed.executed
    assert found.scores == pytest.approx(trimmed.scores)
    assert "layers, and the mean is" in found.notes[0]
    assert evaluate("out/dense/model", TASK).executed is None
    assert json.loads(trimformer("inspect", "out/model", "--json").out)["exits"]["rule"] == "entropy"
    shown = " ".join(trimformer("inspect", "out/model").out.split())
    assert "Exits stand after the layers 0,2: a text leaves where the entropy" in shown


def test_explain_says_it_of_the_rows_that_it_looks_at(report: Report) -> None:
    settings, model = TaskSettings(**TASK), load_with_head("out/model")
    task, rows = load_validation(settings, model.config.label_names)
    data, _ = read_rows(task, rows, load_tokenizer("out/model"), settings, model.config, Path("out/model"))
    (note,) = exit_notes(model, data, "validation")
    assert exit_words(report) in note
    assert exit_notes(load_with_head("out/dense/model"), data, "validation") == []


def test_a_run_on_a_model_with_exits_leaves_them_out_and_says_so(report: Report) -> None:
    assert report.exits
    again = run(recipe("again", stage("depth", keep=3), model="out/model"))
    assert load("again/dense/model").config.exits is None
    assert load("again/model").config.exits is None
    assert any("The exits of out/model were left out" in note for note in again.notes)


def test_a_stage_that_goes_on_from_exits_is_refused_before_any_training(home: Path) -> None:
    with pytest.raises(TrimformerError, match="Stage pabee: the exits of pabee belong to the weights"):
        run(recipe("no", stage("pabee"), stage("finetune", "previous")))
    assert not (home / "no.partial").exists()
    assert run(recipe("two", stage("pabee"), stage("depth", keep=3))).variants[1].executed is None


def test_the_control_goes_back_to_its_best_epoch_as_the_exits_do(home: Path) -> None:
    assert control_stages(recipe("no", stage("pabee"), control="dense"))[0].training.keep_best
    assert not control_stages(recipe("no", stage("greedy", keep_layers=1), control="dense"))[0].training.keep_best


def test_kinds_that_cannot_are_refused_with_the_reason(home: Path) -> None:
    task = {"data": "scores.jsonl", "text": "text", "label": "label", "kind": "regression"}
    with pytest.raises(TrimformerError, match="deebert is not for regression, because a number has no entropy"):
        run(recipe("no", stage("deebert"), task=task))


def test_numbers_agree_in_the_unit_of_the_labels(home: Path) -> None:
    task = {"data": "scores.jsonl", "text": "text", "label": "label", "kind": "regression"}
    found = run(recipe("numbers", stage("pabee", tolerance=0.5), task=task))
    model = load_with_head("numbers/model")
    scale = Scale(10.0, 4.0)
    ids = torch.tensor([[2, 5, 9, 3]])
    with torch.no_grad():
        every = model(ids, output_exits=True).exit_logits[0]
        tolerance = model.config.exits["tolerance"]
        folded = scale.fold(model)
        assert folded.config.exits["tolerance"] == pytest.approx(4 * tolerance)
        torch.testing.assert_close(folded(ids, output_exits=True).exit_logits[0], 4 * every + 10)
    assert 0 < tolerance != 0.5
    assert any("0.5 standard deviations of the labels" in note for note in found.notes)
