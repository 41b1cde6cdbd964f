"""benchmarks/long_texts.py on a tiny shape: what is measured stays, and the tables can be made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trimformer.measure.bench.process import Footprint

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_every_step_is_written_once_and_makes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import long_tables
    import long_texts

    monkeypatch.setattr(long_texts, "SIZES", {"attention": "full", "heads": 2, "head_size": 8, "ffn": 16})
    monkeypatch.setattr(long_texts, "LENGTHS", (16, 500))
    monkeypatch.setattr(long_texts, "MEMORY_LENGTHS", (16, 500))
    monkeypatch.setattr(long_texts, "modernbert", lambda: long_texts.bert(1, 128))
    asked = []

    def footprint(variant: Any, batch: int, length: int, threads: int) -> Footprint:
        asked.append(length)
        return Footprint(variant.name, variant.backend, batch, length, 10**9, first_s=1, peak_bytes=3 * 10**9)

    monkeypatch.setattr(long_texts, "footprint", footprint)
    file = tmp_path / "long.json"
    given = ["--only", "torch", "--repeats", "1", "--seconds", "0", "--threads", "1", "--json", str(file)]
    long_texts.main(given)
    content = json.loads(file.read_text())
    long_texts.main(given)
    assert json.loads(file.read_text()) == content
    assert asked == [16, 500]
    header, rows = long_tables.speed(content)
    assert header == ["tokens", "operations", "torch"]
    assert [row[0] for row in rows] == ["16", "500"]
    assert rows[0][1] == "1.00x"
    assert float(rows[1][1].removesuffix("x")) > 1
    assert all(row[2].endswith("x") for row in rows)
    header, rows = long_tables.memory(content)
    assert rows == [["now", "torch", "2.00 GB, 1.0 s", "2.00 GB, 1.0 s"]]


def test_the_first_token_is_dense_beside_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import long_texts

    monkeypatch.setattr(long_texts, "SIZES", {"attention": "full", "heads": 2, "head_size": 8, "ffn": 16})
    bands = [layer.attention.long_band for layer in long_texts.bert(2, 128).layers]
    assert [(band.reach, band.first) for band in bands] == [(64, 1)] * 2
