"""The runs of benchmarks/students.py that search are recipes, and all see as many rows."""

import importlib
from pathlib import Path

import pytest

from trimformer.methods import METHODS
from trimformer.recipe.reading import parse

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def students(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("students")


def stages(given):
    """As the script completes them."""
    made = [{"name": f"stage-{number}"} | stage for number, stage in enumerate(given)]
    made = [stage | {"method": {"name": m} if isinstance(m := stage["method"], str) else m} for stage in made]
    content = {"model": "demo", "task": {"name": "sst2"}, "baseline": "dense", "out": "out"}
    return parse(content | {"stages": [{"start": "dense"} | made[0], *made[1:]]}, "x").stages


def test_searches_of_a_shape(students):
    runs = {name: stages(given) for name, given in students.architecture().items()}
    for name, made in runs.items():
        trained = [stage.training.epochs for stage in made if METHODS[stage.method.name].trains]
        assert sum(trained) == 2, name
        assert made[-1].method.name == "finetune"
        assert (getattr(made[0].method, "cost", None) == "ms") == name.endswith("-ms")
    assert {"random", "tpe", "uniform", "importance", "dynabert", "tas-ms"} <= set(runs)


def test_cells_beside_the_cnn_that_is_made_by_hand(students):
    search, repair = stages(students.adabert()["adabert"])
    (by_hand,) = stages(students.words({"name": "cnn"})["cnn-teacher"])
    assert (search.method.name, search.start, repair.objective) == ("adabert", by_hand.start, by_hand.objective)
    assert search.training.epochs + repair.training.epochs == by_hand.training.epochs
