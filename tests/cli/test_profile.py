"""What ``profile`` prints: tables that 80 columns hold, clean JSON, a page; and the mistakes one can make."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.command import sentence, trimformer
from trimformer.encoder.parts.components import Component
from trimformer.measure.profile.profile import OTHER, Piece, Profile
from trimformer.report.profile_page import write_page
from trimformer_cli import terminal

BACKENDS = ["torch", "torch-bf16", "onnx-int8", "openvino-bf16", "openvino-int8"]
MS = {backend: 1234.5 for backend in BACKENDS}
FOUND = Profile(
    "models/one", 32, 512, None, 2, {"cpu": "one"}, True,
    [Piece(name, 87_654_321, 345_678_901, 12.34e9, 123_456_789, MS) for name in (*map(str, Component), OTHER)],
    {backend: 9 * 1234.5 / 0.9 for backend in BACKENDS}, {"onnx-int8": 1000.0},
    {"openvino-int4": "It cannot be written."},
)  # fmt: skip


def test_no_table_is_wider_than_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "output", Console(file=file, width=80, highlight=False))
    asked: dict[str, object] = {}

    def found(model: str, **how: object) -> Profile:
        asked.update(how, model=model)
        return FOUND

    monkeypatch.setattr("trimformer.measure.profile.profile.profile", found)
    assert trimformer("profile", "models/one", "--batch", 32, "--length", 512, "--threads", 2).code == 0
    assert asked == {
        "model": "models/one", "batch": 32, "length": 512, "texts": None, "threads": 2, "backends": None,
    }  # fmt: skip
    printed = file.getvalue()
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    assert len(lines) == 10 + 11 + 11  # no cell takes two lines
    assert all(len(line) <= 80 for line in lines)
    for name in (*Component, OTHER, "all parts", "a pass as it is"):
        assert f"│ {name} " in printed
    assert "87.7 M 11 %" in printed
    assert "onnx-int8: the parts add up to 90 % of a pass." in printed
    assert "onnx-int8: operators that it has made of several components take 9 % of the time, in other." in printed
    assert "openvino-int4 did not run: It cannot be written." in printed


def test_json_and_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trimformer.measure.profile.profile.profile", lambda *_, **__: FOUND)
    page = tmp_path / "page.html"
    done = trimformer("profile", "models/one", "--backends", "torch,onnx-int8", "--plot", page, "--json", "-")
    written = json.loads(done.out)
    assert written["total"]["weights"] == 9 * 87_654_321
    assert written["pieces"][2] == {
        "component": "attention", "weights": 87_654_321, "bytes": 345_678_901, "flops": 12.34e9, "memory": 123_456_789,
        "ms": MS,
    }  # fmt: skip
    assert set(written) == {
        "command", "model", "batch", "length", "texts", "threads", "hardware", "on_disk", "pieces", "whole_ms",
        "fused_ms", "skipped", "total", "notes",
    }  # fmt: skip
    text = page.read_text(encoding="utf-8")
    assert text.count('class="chart"') == 3
    for name in (*Component, OTHER):
        assert f'"name": "{name}"' in text
    assert "embeddings: 11 % of the 12346 ms that a pass takes under PyTorch" not in text  # all are as fast: the first
    assert "under PyTorch</h1>" in text


def test_nothing_timed_is_a_page_of_what_is_counted(tmp_path: Path) -> None:
    counted = Profile("m", 1, 8, "texts.txt", 1, {}, False, [Piece(OTHER, 1, 4, 8.0, 4, {})], {}, {}, {})
    write_page(counted, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('class="chart"') == 2
    assert "other: 100 % of the operations" in text
    assert "the texts of texts.txt (mean 8 tokens)" in text.replace("The", "the").replace("Batch", "batch")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--backends", "eager"], "eager does not tell the time of its parts: use some of torch, torch-bf16, "),
        (["--text", "review"], "--text and --text-pair name columns of a file: add --data."),
        (["--plot", "page.txt"], "The picture is an HTML page, not page.txt: name a file that ends in .html."),
        (["--length", "4096"], "The model takes at most "),
        (["--data", "nowhere.txt"], "There is no file nowhere.txt: "),
    ],
)
def test_mistakes_are_one_sentence(options: list[str], said: str) -> None:
    assert sentence(trimformer("profile", "shape:bert-tiny", *options)).startswith(said)
