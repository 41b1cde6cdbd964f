"""benchmarks/speed.py on a tiny shape: every part is written as it goes, and the tables can be made of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import speed
    import speed_tables

    models = {
        name: shape.replace("bert-base", "bert-tiny").replace("2-11=", "1=") for name, shape in speed.MODELS.items()
    }
    monkeypatch.setattr(speed, "MODELS", models)
    monkeypatch.setattr(speed, "SHAPES", [(4, 256), (1, 128)])
    monkeypatch.setattr(speed, "GRID", [(1, 16), (2, 16)])
    monkeypatch.setattr("trimformer.measure.bench.peak.SIZES", ((32, 32, 32),))
    monkeypatch.setattr(sys, "argv", ["speed.py"])
    return speed, speed_tables


@pytest.mark.slow
def test_every_part(modules: tuple[Any, Any], tmp_path: Path) -> None:
    speed, tables = modules
    file = tmp_path / "speed.json"
    for part, only in (("shapes", "eager,onnx-int8"), ("sweep", "torch"), ("sweep", "onnx"), ("fresh", "onnx")):
        speed.main(["--json", str(file), "--threads", "1", "--part", part, "--only", only])
    content = json.loads(file.read_text())
    assert {key for key in content} == {"models", "shapes", "sweep", "fresh"}
    assert [t["backend"] for t in content["sweep"]["timings"]] == ["torch"] * 6 + ["onnx"] * 6
    header, rows = tables.shapes(content)
    assert header[2:4] == ["4×256", "1×128"]
    assert [row[:2] for row in rows] == [
        ["dense", "eager"], ["dense", "onnx-int8"], ["mean 2-11", "onnx-int8"], ["none 2-11", "onnx-int8"],
    ]  # fmt: skip
    assert rows[0][2].endswith("(1.00x)")
    assert [row[0] for row in tables.sweep(content)[1]] == ["torch", "torch", "onnx", "onnx"]
    assert len(tables.fresh(content)[1]) == 3
    aims = [row[0] for row in tables.targets(content)[1]]
    assert "mean 2-11, 4×256, against the best dense back-end" in aims
    assert aims[-1] == "dense time over trimmed, lowest of 8"
    assert len(tables.short(content)[1]) == 4
    assert tables.peaks(content)[1]
