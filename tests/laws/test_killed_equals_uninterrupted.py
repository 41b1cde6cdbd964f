"""Law, end to end: kill -9 in the middle of a stage, resume, and the model is the same to the last bit."""

import json
import signal
import time

import pytest

from tests import fresh
from tests.tasks.plain_text.plain import masking_tokenizer, write_text
from tests.tinymodel import write_csv, write_stock_bert
from trimformer.recipe.reading import parse
from trimformer.recipe.standard import standard_recipe
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import TrainingSettings


def write_recipe(folder, out, method):
    recipe = standard_recipe(
        str(folder / "bert"),
        TaskSettings(data=str(folder / "data.csv"), text="review", label="stars"),
        str(out),
        method={"name": method, "keep_layers": 1},
        training=TrainingSettings(epochs=1, batch_size=8, patience=99, checkpoint_seconds=0),
    )
    # Long enough to be killed in its middle.
    recipe.stages[0].training = recipe.stages[0].training.model_copy(update={"epochs": 4})
    recipe.measure.backends, recipe.measure.batch, recipe.measure.length = ["torch"], [1], [8]
    recipe.export.onnx = False
    recipe.save(folder / f"{out.name}.yaml")
    return folder / f"{out.name}.yaml"


def write_plain_text_recipe(folder, out):
    """General distillation of a student that is as the second layer of its teacher."""
    stage = {
        "name": "search",
        "start": {"name": "student", "layers": [1]},
        "method": {"name": "finetune"},
        "objective": {"task": 0.0, "hidden": 1.0, "attention": 1.0},
        "training": {"epochs": 8, "batch_size": 8, "patience": 99, "checkpoint_seconds": 0},
    }
    recipe = parse(
        {
            "model": str(folder / "bert"),
            "task": {"name": "text", "texts": [str(folder / "texts.txt")], "max_length": 16},
            "out": str(out),
            "stages": [stage],
            "measure": {"backends": ["torch"], "batch": [1], "length": [8]},
            "export": {"onnx": False},
        },
        "the recipe",
    )
    recipe.save(folder / f"{out.name}.yaml")
    return folder / f"{out.name}.yaml"


@pytest.mark.parametrize("method", ["attendout", pytest.param("attendout-faithful", marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, method):
    write_stock_bert(tmp_path / "bert", layers=3)
    write_csv(tmp_path / "data.csv", rows=160)
    check(tmp_path, lambda out: write_recipe(tmp_path, out, method))


def test_killed_in_general_distillation(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cache"))
    write_stock_bert(tmp_path / "bert", layers=3)
    masking_tokenizer().save_pretrained(tmp_path / "bert")
    write_text(tmp_path / "texts.txt", 160)
    check(tmp_path, lambda out: write_plain_text_recipe(tmp_path, out))


def check(tmp_path, write):
    """write: the recipe of a run whose stage is called search, into a folder."""
    fresh.finished(fresh.command, "run", write(tmp_path / "whole"))

    recipe = write(tmp_path / "killed")
    state = tmp_path / "killed.partial" / "work" / "0-search" / "state-0.pt"
    process = fresh.start(fresh.command, "run", recipe)
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the run was over before it could be killed"
    assert not (tmp_path / "killed").exists()
    assert not (state.parent / "model").exists(), "the search was over before it could be killed"

    fresh.finished(fresh.command, "run", recipe, "--resume")
    for part in ("model/model.safetensors", "model/config.json", "metrics.jsonl"):
        assert (tmp_path / "killed" / part).read_bytes() == (tmp_path / "whole" / part).read_bytes()
    curves = [json.loads((tmp_path / n / "report.json").read_text())["curves"] for n in ("whole", "killed")]
    assert curves[0] == curves[1] != []
    assert not (tmp_path / "killed.partial").exists()
