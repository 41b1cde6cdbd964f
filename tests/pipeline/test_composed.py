"""A recipe of many stages, on a small model: each goes on from what the ones before have left."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.tinymodel import write_csv, write_stock_bert
from trimformer import load
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def test_edgebert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stock_bert(tmp_path / "bert", layers=4)
    write_csv(tmp_path / "data.csv")
    quick = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    recipe = yaml.safe_load((RECIPES / "edgebert.yaml").read_text(encoding="utf-8"))
    recipe |= {"model": "bert", "task": {"data": "data.csv", "text": "review", "label": "stars"}, "out": "out"}
    recipe |= {"dense": quick, "measure": {"batch": [1], "length": [8], "backends": ["torch"]}}
    recipe |= {"export": {"onnx": False}}
    for stage in recipe["stages"]:
        if "training" in stage:
            stage["training"] = quick
    recipe["stages"][0]["method"]["width"] = 8
    report = run(parse(recipe, "edgebert"))
    model = load("out/model")
    config, layers = model.config, model.encoder.layers
    assert (config.embedding_size, config.sharing) == (8, [0, 0, 0, 0])
    assert layers[0].ffn_in.weight is layers[3].ffn_in.weight
    (pattern,) = {shape.own["pattern"]["name"] for shape in config.shapes}
    assert pattern == "spans"
    maps = {name: module.weight for name, module in layers[0].named_modules() if name.endswith(("query", "ffn_in"))}
    assert maps
    for weight in maps.values():
        assert 0.45 <= float((weight != 0).float().mean()) <= 0.5
    sizes = [variant.params for variant in report.variants]
    assert sizes[-1] < sizes[0] / 2
