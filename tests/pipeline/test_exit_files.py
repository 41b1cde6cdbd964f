"""A run with exits down to its files: they are scored and timed on the texts, and the headline takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.test_exits import recipe, stage
from tests.tinymodel import write_csv, write_stock_bert
from trimformer.inference.predictor import Predictor
from trimformer.pipeline.run import run
from trimformer.report.headline import sentence
from trimformer.report.report import html


def test_times_and_scores_are_those_of_the_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stock_bert(tmp_path / "bert", layers=2)
    write_csv(tmp_path / "data.csv", 120)
    measure = {"batch": [1, 4], "length": [8], "backends": ["torch", "onnx"]}
    export = {"onnx": True, "int8": False}
    report = run(recipe("out", stage("deebert", max_drop=50.0), measure=measure, export=export))
    assert sorted(path.name for path in (tmp_path / "out" / "onnx").glob("*.onnx")) == [
        "model.1-of-2.onnx",
        "model.2-of-2.onnx",
    ]
    (file,) = report.export
    assert file.file == "onnx/model.1-of-2.onnx"
    assert file.label_agreement == 1
    dense, trimmed = report.variants
    for variant in (dense, trimmed):
        assert {(one.backend, one.batch) for one in variant.latency_ms} == {
            (backend, batch) for backend in ("torch", "onnx") for batch in (1, 4)
        }
        assert all(one.ms == one.mean for one in variant.latency_ms)
    assert trimmed.executed is not None
    assert all(one.score == trimmed.score for one in trimmed.latency_ms)
    said = [note for note in report.notes if note.startswith(("Under torch:", "Under onnx:"))]
    assert any("all 2 layers, and the mean is 1." in note for note in said)
    assert report.headline is not None
    assert report.headline.file == "onnx/model.1-of-2.onnx"
    assert "removed parts" not in sentence(report.headline)
    assert "wall-clock means of one forward pass" in html(report)
    assert Predictor("out/model").backend == "onnx"
