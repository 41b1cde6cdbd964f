"""The tables and the picture of benchmarks/sparsebert.py, from made-up results."""

import importlib
import xml.etree.ElementTree as ET
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


def test_the_curve_of_lambda_against_loss_and_score(made):
    found = {
        "dam scratch dense seed 0": scored(3.0),
        "dam scratch structured 0.001 seed 0": scored(3.5, sparsity=0.9),
        "dam scratch structured 1e-05 seed 0": scored(3.125, sparsity=0.5),
        "dam scratch structured 1e-05 seed 1": scored(3.375, sparsity=0.75),
        "dam scratch random 1e-05 seed 0": scored(4.0, sparsity=0.5),
        "dam scratch dense sst2 seed 0": {"metric": "accuracy", "scores": {"accuracy": 0.8}},
        "dam scratch structured 1e-05 sst2 seed 0": {"metric": "accuracy", "scores": {"accuracy": 0.75}},
        "patterns scratch star seed 0": scored(3.75, sparsity=0.96),
    }
    from sparsebert_curves import curves, picture

    loss, score = curves(found)
    assert (loss.title, score.title) == ("scratch: held-out loss", "scratch: score on SST-2")
    by_penalty = {series.name: series for series in loss.series}
    line = by_penalty["structured, by λ"]
    assert (line.joined, line.points) == (True, [(0, 3.0, "dense"), (62.5, 3.25, "1e-05"), (90, 3.5, "0.001")])
    assert by_penalty["random distances"].points == [(50, 4.0, "1e-05")]
    assert by_penalty["patterns"].points == [(96, 3.75, "star")]
    assert [(series.name, series.points) for series in score.series] == [
        ("structured, by λ", [(0, 80, "dense"), (62.5, 75, "1e-05")])
    ]
    assert picture({"removed scratch full seed 0": scored(3.0)}) == ""
    assert made.patterns(found)[1] == [["scratch, star", "1", "96.0 %", "3.750"]]


def test_a_picture_shows_every_point_where_it_belongs(made):
    import pictures

    line = pictures.Series("by λ", [(0, 3.0, "dense"), (50, 4.0, "<a>")], joined=True)
    panel = pictures.Panel("loss", "left out", "loss", [line])
    root = ET.fromstring(pictures.svg([panel, panel], "words"))
    name = "{http://www.w3.org/2000/svg}"
    circles = root.findall(f"{name}g/{name}circle")
    places = [(float(one.get("cx")), float(one.get("cy"))) for one in circles]
    left, right, low, high = (
        pictures.LEFT,
        pictures.WIDTH - pictures.RIGHT,
        pictures.HEIGHT - pictures.BOTTOM,
        pictures.TOP,
    )
    assert places == [(left, low), (right, high)] * 2
    assert [one.get("points") for one in root.iter(f"{name}polyline")] == [
        f"{left:.1f},{low:.1f} {right:.1f},{high:.1f}"
    ] * 2
    assert root.get("aria-label") == "words"
    assert {"dense", "<a>", "by λ", "left out", "50"} <= {one.text for one in root.iter(f"{name}text")}


def test_written_patterns_leave_out_what_was_computed_by_hand(made):
    import sparsebert

    from trimformer.encoder.parts.patterns.base import read

    found = {name: read({"name": name} | own).sparsity(128, 12) for name, own in sparsebert.PATTERNS.items()}
    shares = {
        "window": 0.9767, "star": 0.9613, "longformer": 0.8862, "bigbird": 0.8932, "logsparse": 0.8983, "fixed": 0.8372,
        "strided": 0.7594, "no-diagonal": 0.0078,
    }  # fmt: skip
    assert found == pytest.approx(shares, abs=5e-5)


def test_claims_are_told_in_differences_of_the_same_seeds(made):
    groups = [{"name": kind, "mean": mean} for kind, mean in zip(made.KINDS, (0.1, 0.6, 0.7, 0.4), strict=True)]

    def run(loss, score=0.5):
        return {"metric": "accuracy", "scores": {"accuracy": score, "loss": loss}}

    found = {
        "study scratch seed 0": {"importance": {"maps": [{"layer": None, "groups": groups}]}},
        "removed scratch full seed 0": run(3.0),
        "removed scratch full seed 1": run(9.0),
        "removed scratch no-diagonal seed 0": run(3.25),
        "removed scratch full sst2 seed 0": run(0, 0.8),
        "removed scratch no-diagonal sst2 seed 0": run(0, 0.82),
        "dam scratch structured 0.001 seed 0": run(4.0),
        "dam scratch structured 0.001 sst2 seed 0": run(0),
        "dam scratch random 0.001 seed 0": run(4.5),
    }
    header, rows = made.claims(found)
    assert header == ["published claim", "encoder", "tried", "ours"]
    assert [row[1:] for row in rows] == [
        ["scratch", "importance of all positions", "diagonal 0.100, least of the others 0.400 (rest)"],
        ["scratch", "no-diagonal against full", "loss +0.250, SST-2 +2.0"],
        ["scratch", "structured against random distances", "λ 0.001, loss -0.500"],
    ]
    assert made.claims({})[1] == []


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(3.02, 3.41, [3.0, 3.1, 3.2, 3.3, 3.4, 3.5]), (0, 100, [0, 20, 40, 60, 80, 100]), (7, 7, [6, 8])],
)
def test_ticks_are_round_and_hold_all_values(made, low, high, found):
    import pictures

    assert pictures.ticks(low, high) == found
