"""Encoders that were trimmed before are welcome: every method compresses one further, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import sentence, trimformer
from tests.tinymodel import write_csv, write_stock_bert
from trimformer import load
from trimformer.methods import METHODS
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse

SETTINGS: dict[str, dict[str, Any]] = {
    "depth": {"keep": 3, "strategy": "contribution"},
    "layerdrop": {"keep": 3},
    "theseus": {"keep": 3},
    "low-rank": {"target": 0.7},
    "magnitude": {"density": 0.5},
    "lottery-ticket": {"rounds": 1},
    "hard-concrete": {"target": 0.7},
    "importance": {"keep_layers": 1, "heads": 0.5, "ffn": 0.5},
}
STUDENT = {"name": "student", "layers": [1, 3]}
"""Layers of the kinds of those that they are made of."""
TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model with four layers of which the last two have no attention; it is in the current folder."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_stock_bert(folder / "stock", layers=4)
        write_csv(folder / "data.csv")
        done = trimformer("trim", "stock", "--attention", "2=mean,3=none", "--out", "bert")
        assert done.code == 0, done.err
        yield folder


def kinds(folder: str) -> list[str]:
    return [shape.attention for shape in load(folder).config.shapes]


def test_every_method_goes_on_from_there(home: Path) -> None:
    stages = []
    for name, method in METHODS.items():
        if method.needs_pairs:  # these rows have one text
            continue
        needed = {"keep_layers": 1} if "keep_layers" in method.Settings.model_fields else method.example
        settings = {"name": name} | SETTINGS.get(name, dict(needed))
        start = STUDENT if name == "squeeze" else "dense"
        training = TRAINING | ({"epochs": 2} if name == "progressive" else {})  # a step for each layer
        stages.append({"name": name, "method": settings, "start": start, "training": training})
    content = {
        "model": "bert",
        "task": {"data": "data.csv", "text": "review", "label": "stars"},
        "out": "all",
        "dense": TRAINING,
        "stages": [*stages, {"name": "last", "method": {"name": "last-k", "keep_layers": 1}, "start": "dense"}],
        "measure": {"batch": [1], "length": [8], "backends": ["sdpa", "torch"]},
        "export": {"onnx": False},
    }
    report = run(parse(content, "x"))
    assert kinds("all/dense/model") == ["full", "full", "mean", "none"]
    assert kinds("all/model") == ["full", "mean", "mean", "none"]
    assert report.removed_layers() == [1]
    assert {curve.stage for curve in report.curves} == {
        "adabert", "adaptive-span", "attendout", "dam", "darts", "greedy", "hard-concrete", "nas-masks",
        "position-importance", "power-bert", "random", "tas", "tpe",
    }  # fmt: skip
    assert [latency.backend for latency in report.variants[0].latency_ms] == ["torch"]  # no stock class can be this


def test_more_layers_than_are_left_are_refused_before_any_work(home: Path) -> None:
    columns = ["--data", "data.csv", "--text", "review", "--label", "stars"]
    for method in ([], ["--method", "greedy"], ["--method", "last-k"]):
        found = trimformer("compress", "bert", *columns, *method, "--keep-layers", 3, "--out", "no")
        assert sentence(found) == (
            "Stage search: keep_layers=3 is out of range: this encoder has 2 layers with attention, so keep 0 to 2."
        )
    assert not Path("no.partial").exists()
