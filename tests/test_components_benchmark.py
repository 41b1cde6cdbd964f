"""benchmarks/components.py on a tiny shape: a profile of which a table can be made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_the_script_and_its_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import components
    import tables

    monkeypatch.setattr(components, "RUNS", (("shape:bert-tiny", 8, 1),))
    monkeypatch.setattr(components, "BACKENDS", ("torch",))
    components.main(["--json", str(tmp_path / "components.json"), "--threads", "1"])
    (key,) = json.loads((tmp_path / "components.json").read_text())
    assert key == "bert-tiny 8"
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    rows = [row.strip("| ").split(" | ") for row in tables.components(key).splitlines()]
    assert rows[0] == ["component", "weights", "FLOPs", "memory", "torch"]
    assert [row[0] for row in rows[2:]] == [
        "embeddings", "maps before attention", "attention", "map after attention", "feed-forward", "head", "other",
        "all parts, of a pass",
    ]  # fmt: skip
    assert sum(int(row[4].removesuffix(" %")) for row in rows[2:-1] if row[4] != "–") == pytest.approx(100, abs=4)
