"""`compress --max-drop` on a user's files, with real exports; and the mistakes one can make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import sentence, trimformer
from tests.search.conftest import counted_tables, fake_timed, lossy
from trimformer.search.measurement import timed
from trimformer.search.schema import AutopilotReport

DATA = ["--data", "train.csv", "--text", "review", "--label", "stars"]


def timed_then_counted(variants: Any, workload: Any, threads: int) -> list[Any]:
    """Everything is run, but which file is the fastest does not depend on what else the machine does."""
    ran = [variant for variant, _ in timed(variants, workload, threads)]
    return fake_timed(ran, workload, threads)


def test_from_a_folder_and_a_file_to_a_model_in_use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.search.measurement.available_backends", lambda: ["torch", "onnx", "onnx-int8"])
    monkeypatch.setattr("trimformer.search.predictor.latency_tables", counted_tables)
    monkeypatch.setattr("trimformer.search.measurement.timed", timed_then_counted)
    monkeypatch.setattr("trimformer.search.shortlist.LOOKS", 2)
    monkeypatch.setattr("trimformer.search.candidates._look", lossy)
    quick = ["--epochs", 1, "--learning-rate", 1e-3, "--seed", 3]
    found = trimformer("compress", "bert", *DATA, *quick, "--max-drop", 100, "--length", 8, "--out", "out", "--json")
    assert found.code == 0, found.err
    report = AutopilotReport.model_validate_json(found.out)
    assert report == AutopilotReport.model_validate_json(Path("out/autopilot.json").read_text())
    assert [step.name for step in report.steps] == [
        "load", "plan", "dense", "files", "candidates", "teacher", "rung 1", "compare", "confirm", "test",
    ]  # fmt: skip
    assert (report.reference, report.workload, len(report.points)) == ("eager", "batch 1, 8 tokens", 1)
    assert {one.backend for one in report.files if one.name == report.chosen.name} == {"onnx", "onnx-int8"}
    assert Path("out", report.file).is_file()
    for folder in ("model", "dense/model", *(point.folder for point in report.points)):
        assert trimformer("predict", Path("out", folder), stdin="good\n").out in ("pos\n", "neg\n")
    answer = trimformer("predict", "out/model", "--backend", report.chosen.backend, stdin="good\n")
    assert answer.out in ("pos\n", "neg\n"), answer.err
    assert "Speed against accuracy" in Path("out/frontier.html").read_text()
    assert "Writing model shards" not in found.err  # a bar of another library
    assert json.loads(Path("out/autopilot.json").read_text())["recipe"]["autopilot"]["max_drop"] == 100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--max-drop", 1, "--method", "last-k"],
            "--method has no meaning with --max-drop, which finds out by itself: leave it out.",
        ),
        (["--max-drop", 1, "--keep-layers", 1], "--keep-layers has no meaning with --max-drop"),
        (["--max-drop", 1, "--replace-by", "none"], "--replace-by has no meaning with --max-drop"),
        (["--min-speedup", 3], "--min-speedup belongs to --max-drop: add a budget, as in --max-drop 0.5."),
        (["--batch", 3], "--batch belongs to --max-drop"),
        (["--max-drop", -1], "--max-drop: input should be greater than or equal to 0 (got -1.0)."),
        (["--max-drop", 1, "--min-speedup", 1], "--min-speedup: input should be greater than 1 (got 1.0)."),
        (["--max-drop", 1, "--batch", 0], "--batch: input should be greater than 0 (got 0)."),
        (["--max-drop", 1, "--length", 64], "takes at most 40 tokens, not 64."),
        (
            ["--max-drop", 1, "--time-budget", "2 hours"],
            "--time-budget: '2 hours' is not a duration: write 2h, 45m or 1h30m.",
        ),
        (["--max-drop", 1, "--epochs", 0], "--epochs: input should be greater than 0"),
        (
            ["--max-drop", 1, "--train-limit", 12],
            "rows are held out from train, and a search needs 10 to choose and to",
        ),
    ],
)
def test_mistakes(home: Path, arguments: list[Any], said: str) -> None:
    before = sorted(Path().rglob("*"))
    assert said in sentence(trimformer("compress", "bert", *DATA, *arguments, "--out", "wrong"))
    assert sorted(Path().rglob("*")) == before


def test_a_runtime_is_needed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.search.measurement.available_backends", lambda: ["torch"])
    assert sentence(trimformer("compress", "bert", *DATA, "--max-drop", 1, "--out", "wrong")) == (
        'No runtime for files is installed: pip install "trimformer[onnx,openvino]".'
    )
