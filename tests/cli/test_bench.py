"""What ``bench`` prints: a table that 80 columns hold, results as they come, clean JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.command import sentence, trimformer
from trimformer.measure.bench.bench import Bench
from trimformer.measure.bench.latency import Timing
from trimformer.measure.bench.peak import Peak
from trimformer.measure.bench.process import Footprint
from trimformer.measure.bench.score import Score
from trimformer_cli import terminal

NAMES = ["/home/somebody/experiments/runs/first/dense/model", "/home/somebody/experiments/runs/second/dense/model"]
BACKENDS = ["eager", "torch-compile", "onnx-int8", "openvino-int8"]
PAIRS = [(name, backend) for name in NAMES for backend in BACKENDS]
SAME = {"onnx-int8": 0.5}
"""Shares of the answers that are those of fp32, where not all are."""
BENCH = Bench(
    {}, 2,
    [Timing(*p, 8, 128, 12345.6, 13456.7, 128, 2, "", "fixed", 12.3, 1234567.0, 1e9) for p in PAIRS],
    [Footprint(*p, 8, 128, 437_000_000, 10.55, 4.51, 3.02, 1.11, 1_234_000_000) for p in PAIRS],
    [Peak("fp32", 1e11, "onnxruntime", (1024, 3072, 768))],
    [Score(*p, "accuracy", None if p[1] == "eager" else 0.8765, 872, agreement=SAME.get(p[1], 1.0)) for p in PAIRS],
    left_out=["sdpa"],
)  # fmt: skip


def test_no_word_is_broken_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    file, told = io.StringIO(), io.StringIO()
    monkeypatch.setattr(terminal, "output", Console(file=file, width=80, highlight=False))
    monkeypatch.setattr("trimformer.console.console", Console(file=told, width=80, highlight=False))

    def bench(*_: object, **how: object) -> Bench:
        assert (how["thorough"], how["fresh"], how["batch"], how["backends"]) == (True, None, None, None)
        how["done"](BENCH.timings)  # type: ignore[operator]
        return BENCH

    monkeypatch.setattr("trimformer.measure.bench.bench.bench", bench)
    assert trimformer("bench", *NAMES, "--thorough").code == 0
    printed = file.getvalue()
    tables = [line for line in printed.splitlines() if line.startswith(("│", "┃"))]
    assert tables
    assert all(len(line) <= 80 for line in tables)
    words = {word for line in tables for word in line.replace("┃", "│").replace("│", " ").split()}
    assert {"first", "second", *BACKENDS, "12346", "13457", "128", "*1.00x", "87.65", "accuracy", "passes"} <= words
    assert {"openvino-", "int8", "acc"}.isdisjoint(words)
    assert f"first is {NAMES[0]}.\n" in printed
    assert "WARNING: second under onnx-int8 answers only 50.0 %" in printed
    assert "Left out to answer within a minute: sdpa;" in printed
    assert "batch 8, 128 tokens: second, onnx-int8: 12346 ms (128 passes)\n" in told.getvalue()


def test_json_is_whole_and_has_the_names_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.measure.bench.bench.bench", lambda *_, **how: how["done"](BENCH.timings) or BENCH)
    result = trimformer("bench", *NAMES, "--json", "-")
    written = json.loads(result.out)
    assert written["timings"][0]["name"] == NAMES[0]
    assert written["left_out"] == ["sdpa"]


def test_a_table_of_the_device_has_no_thorough_form(tmp_path: Path) -> None:
    said = sentence(trimformer("bench", "demo", "--table", tmp_path / "table.json", "--thorough"))
    assert said == "--table measures shapes alone: leave out --task, --data, --plot and --thorough."
