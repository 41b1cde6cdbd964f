"""Law, end to end: kill -9 in the middle of AttendOut, resume, and the model is the same to the last bit."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.tinymodel import write_csv, write_stock_bert
from trimformer.recipe.standard import standard_recipe
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import TrainingSettings


def write_recipe(folder, out, method):
    recipe = standard_recipe(
        str(folder / "bert"),
        TaskSettings(data=str(folder / "data.csv"), text="review", label="stars"),
        str(out),
        method={"name": method, "keep_layers": 1},
        training=TrainingSettings(epochs=8, batch_size=8, patience=99, checkpoint_seconds=0),
    )
    recipe.measure.backends, recipe.measure.batch, recipe.measure.length = ["torch"], [1], [8]
    recipe.export.onnx = False
    recipe.save(folder / f"{out.name}.yaml")
    return folder / f"{out.name}.yaml"


def run(recipe, *options):
    return [sys.executable, "-m", "trimformer", "run", str(recipe), *options]


@pytest.mark.parametrize("method", ["attendout", "attendout-faithful"])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, method):
    write_stock_bert(tmp_path / "bert", layers=3)
    write_csv(tmp_path / "data.csv", rows=160)
    subprocess.run(run(write_recipe(tmp_path, tmp_path / "whole", method)), check=True, capture_output=True)

    recipe = write_recipe(tmp_path, tmp_path / "killed", method)
    state = tmp_path / "killed.partial" / "work" / "0-search" / "state-0.pt"
    process = subprocess.Popen(run(recipe), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert not (tmp_path / "killed").exists()
    assert not (state.parent / "model").exists(), "the search was over before it could be killed"

    subprocess.run(run(recipe, "--resume"), check=True, capture_output=True)
    for part in ("model/model.safetensors", "model/config.json", "metrics.jsonl"):
        assert (tmp_path / "killed" / part).read_bytes() == (tmp_path / "whole" / part).read_bytes()
    curves = [json.loads((tmp_path / n / "report.json").read_text())["curves"] for n in ("whole", "killed")]
    assert curves[0] == curves[1] != []
    assert not (tmp_path / "killed.partial").exists()
