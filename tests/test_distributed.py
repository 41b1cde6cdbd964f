"""Two processes on the CPU under ``accelerate launch`` run a whole recipe."""

import json
import os
import subprocess
import sys

import pytest

from tests.learning import every_term
from tests.tinymodel import write_csv, write_stock_bert
from trimformer.recipe.standard import standard_recipe
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import ObjectiveSettings, TrainingSettings


@pytest.mark.parametrize(
    "method",
    [
        {"name": "attendout", "keep_layers": 1},
        {"name": "attendout-faithful", "keep_layers": 1},
        pytest.param({"name": "greedy", "keep_layers": 1}, marks=pytest.mark.slow),
        pytest.param({"name": "layerdrop", "keep": 1}, marks=pytest.mark.slow),
        pytest.param({"name": "hard-concrete", "target": 0.7}, marks=pytest.mark.slow),
    ],
    ids=lambda method: method["name"],
)
def test_two_processes_run_a_recipe(tmp_path, method):
    model, data = write_stock_bert(tmp_path / "bert"), write_csv(tmp_path / "data.csv", rows=160)
    recipe = standard_recipe(
        str(model),
        TaskSettings(data=str(data), text="review", label="stars"),
        str(tmp_path / "out"),
        method=method,
        training=TrainingSettings(epochs=4, batch_size=8),
    )
    recipe.measure.backends, recipe.measure.batch, recipe.measure.length = ["torch"], [1], [8]
    recipe.export.onnx = False
    recipe.stages[1].objective = ObjectiveSettings(**every_term(cache=True))
    recipe.save(tmp_path / "recipe.yaml")
    # Accelerate's --cpu alone starts one process (it leaves several to mpirun); this starts two, over gloo.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    done = subprocess.run(
        [*launch, "-m", "trimformer", "run", str(tmp_path / "recipe.yaml"), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ACCELERATE_USE_CPU": "true"},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    if "target" not in method:
        assert [layer["attention"] for layer in report["variants"][1]["layers"]].count("full") == 1
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    rows = report["task"]["n_train"]
    per_epoch = -(-rows // 8) // 2  # each process takes every other batch
    assert max(line["step"] for line in lines if line["stage"] == "search") == 4 * per_epoch
