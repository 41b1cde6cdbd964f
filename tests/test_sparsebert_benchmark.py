"""The tables of benchmarks/sparsebert.py, from made-up results."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("sparsebert_tables")


def scored(loss, sparsity=0.0):
    return {"metric": "accuracy", "scores": {"accuracy": 0.5, "loss": loss}, "sparsity": sparsity}


def test_means_of_seeds_by_origin_and_run(made):
    found = {
        "removed scratch full seed 0": scored(3.0),
        "removed scratch full seed 1": scored(4.0),
        "removed scratch full sst2 seed 0": {"metric": "accuracy", "scores": {"accuracy": 0.8}},
        "removed scratch no-diagonal seed 0": scored(3.25, sparsity=1 / 128),
        "dam continued structured 0.0001 seed 0": scored(5.0, sparsity=0.9),
        "dam continued random 0.0001 seed 0": scored(5.5, sparsity=0.875),
    }
    header, rows = made.removed(found)
    assert header == ["encoder, positions", "seeds", "left out", "held-out loss", "SST-2"]
    assert rows == [
        ["scratch, full", "2", "0.0 ± 0.0 %", "3.500 ± 0.707", "80.0"],
        ["scratch, no-diagonal", "1", "0.8 %", "3.250", "not measured yet"],
    ]
    assert made.dam(found)[1] == [
        ["continued, structured 0.0001", "1", "90.0 %", "5.000"],
        ["continued, random 0.0001", "1", "87.5 %", "5.500"],
    ]
    assert made.importance(found)[1] == []


def test_importance_of_each_kind(made):
    groups = [{"name": kind, "mean": mean} for kind, mean in zip(made.KINDS, (0.1, 0.6, 0.7, 0.4), strict=True)]
    run = {"importance": {"maps": [{"layer": None, "groups": groups}]}}
    assert made.importance({"study scratch seed 0": run, "study scratch seed 1": run})[1] == [
        ["scratch", "2", "0.100 ± 0.000", "0.600 ± 0.000", "0.700 ± 0.000", "0.400 ± 0.000"]
    ]
