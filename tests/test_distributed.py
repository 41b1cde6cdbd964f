"""Two processes on the CPU under ``accelerate launch`` run whole recipes."""

import json
import os
import subprocess
import sys

import pytest

from tests.learning import every_term
from tests.tinymodel import write_csv, write_stock_bert
from trimformer.methods import METHODS as KNOWN
from trimformer.recipe.standard import standard_recipe
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import ObjectiveSettings, TrainingSettings

SCRIPT = """
import sys
from trimformer_cli import main

for recipe in sys.argv[1:]:
    sys.argv = ["trimformer", "run", recipe, "--json"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code
"""
METHODS = [{"name": "attendout", "keep_layers": 1}, {"name": "attendout-faithful", "keep_layers": 1}]
OTHERS = [
    {"name": "greedy", "keep_layers": 1},
    {"name": "layerdrop", "keep": 1},
    {"name": "hard-concrete", "target": 0.7},
    {"name": "theseus", "keep": 1},
    {"name": "progressive"},
    {"name": "dam"},
    {"name": "adaptive-span", "penalty": 0},
    {"name": "position-importance"},
]
SEARCHES = [
    {"name": "darts", "target": 0.9, "held_out": 0.5},
    {"name": "nas-masks", "target": 0.9, "held_out": 0.5},
    {"name": "tas", "target": 0.7, "held_out": 0.5, "rows": 16},
    {"name": "dynabert", "rows": 16},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "methods",
    [METHODS, OTHERS, SEARCHES],
    ids=["attendout", "others", "searches"],
)
def test_two_processes_run_recipes(tmp_path, methods):
    model, data = write_stock_bert(tmp_path / "bert"), write_csv(tmp_path / "data.csv", rows=160)
    recipes = []
    for method in methods:
        recipe = standard_recipe(
            str(model),
            TaskSettings(data=str(data), text="review", label="stars"),
            str(tmp_path / method["name"]),
            method=method,
            training=TrainingSettings(epochs=2, batch_size=8),
        )
        recipe.measure.backends, recipe.measure.batch, recipe.measure.length = ["torch"], [1], [8]
        recipe.export.onnx = False
        if methods is not SEARCHES:  # what these leave may have no attention to compare
            recipe.stages[1].objective = ObjectiveSettings(**every_term(cache=True))
        recipe.save(tmp_path / f"{method['name']}.yaml")
        recipes.append(tmp_path / f"{method['name']}.yaml")
    (tmp_path / "both.py").write_text(SCRIPT)
    # Accelerate's --cpu alone starts one process (it leaves several to mpirun); this starts two, over gloo.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "both.py"), *map(str, recipes)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ACCELERATE_USE_CPU": "true"},
    )
    assert done.returncode == 0, done.stderr
    for method in methods:
        check(tmp_path / method["name"], method)


def check(out, method):
    report = json.loads((out / "report.json").read_text())
    if {"keep", "keep_layers"} & method.keys():
        assert [layer["attention"] for layer in report["variants"][1]["layers"]].count("full") == 1
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rows = report["task"]["n_train"] - round(method.get("held_out", 0) * report["task"]["n_train"])
    per_epoch = -(-rows // 8) // 2  # each process takes every other batch
    stage = KNOWN[method["name"]].standard.stage
    assert max(line["step"] for line in lines if line["stage"] == stage) == 2 * per_epoch
