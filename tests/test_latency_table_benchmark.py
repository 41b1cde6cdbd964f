"""benchmarks/latency_table.py on a tiny shape: predictions beside measurements, of which a table can be made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_the_script_and_its_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import latency_table
    import tables

    monkeypatch.setattr(latency_table, "MODELS", ("shape:bert-tiny",))
    monkeypatch.setattr(latency_table, "FORMS", 2)
    monkeypatch.setattr(latency_table, "LENGTH", 8)
    latency_table.main(["--json", str(tmp_path / "latency_table.json"), "--threads", "1", "--only", "torch"])
    content = json.loads((tmp_path / "latency_table.json").read_text())
    found = content["models"]["shape:bert-tiny"]["torch"]
    assert len(found["checks"]) == 6
    assert content["median_error"] == found["median_error"]
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    rows = tables.latency_table().splitlines()[2:]
    assert [row.split(" | ")[:3] for row in rows] == [
        ["| bert-tiny", "torch", "1×8"], ["| bert-tiny", "torch", "8×8"],
    ]  # fmt: skip
