"""The tables and the picture of ``bench``."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from trimformer.errors import TrimformerError
from trimformer.measure.bench.bench import MENDS, Bench
from trimformer.measure.bench.latency import Timing
from trimformer.measure.bench.peak import Peak
from trimformer.measure.bench.process import Footprint
from trimformer.measure.bench.score import Score
from trimformer.report.bench_picture import Told, check_picture, frontier, write_picture
from trimformer.report.bench_tables import TextTable, tables


def timing(name: str, backend: str, speed: float | None, **others: Any) -> Timing:
    median = speed and 1e3 / speed
    return Timing(
        name, backend, 1, 8, median, median, 9, 2, "" if speed else "it is not dense", sequences_per_s=speed,
        tokens_per_s=speed and 8 * speed, flops_per_s=speed and 1e9 * speed, **others,
    )  # fmt: skip


def made_up(scores: bool = True) -> Bench:
    timings = [
        timing("dense", "eager", 10.0), timing("dense", "onnx-int8", 40.0), timing("<new>", "eager", None),
        timing("<new>", "onnx-int8", 80.0), timing("dense", "onnx-int8", 30.0, lengths="bucketed"),
    ]  # fmt: skip
    found = [("dense", "eager", 0.9), ("dense", "onnx-int8", 0.88), ("<new>", "onnx-int8", 0.85)]
    return Bench(
        {"cpu": "Example"}, 2, timings,
        [Footprint("dense", "eager", 1, 8, 10**6, 2.0, 1.0, 0.5, 0.5, 10**8)],
        [Peak("fp32", 1e11, "torch", (8, 8, 8)), Peak("int8", 4e11, "openvino", (8, 8, 8))],
        [Score(name, backend, "accuracy", score, 100) for name, backend, score in found] if scores else [],
    )  # fmt: skip


def test_tables_are_sorted_and_mark_the_fastest() -> None:
    speed, own, fresh, scores, peaks = tables(made_up())
    assert [row[:2] for row in speed.rows] == [["<new>", "onnx-int8"], ["dense", "onnx-int8"], ["dense", "eager"]]
    assert [row[6] for row in speed.rows] == ["*8.00x", "4.00x", "1.00x"]
    assert [row[7] for row in speed.rows] == ["20 %", "10 %", "10 %"]
    assert [row[8] for row in speed.rows] == ["9", "9", "9"]  # passes
    assert speed.notes == ["<new>, eager: it is not dense"]
    assert "bucketed" not in own.title  # batch 1 has no padding
    assert fresh.rows[0][:4] == ["dense", "eager", "1.00 MB", "2.00"]
    assert [row[2] for row in scores.rows] == ["90.00", "88.00", "85.00"]
    assert peaks.rows[1][-1] == "400"


def test_a_variant_that_answers_otherwise_is_not_recommended(tmp_path: Path) -> None:
    """Neither the mark nor the headline is its, and it is warned of; each row of a speed has its own score."""
    bench = made_up()
    scores = [dataclasses.replace(s, agreement=0.6 if s.name == "<new>" else 1.0) for s in bench.scores]
    bench = dataclasses.replace(bench, scores=scores)
    speed = tables(bench)[0]
    assert [row[6] for row in speed.rows] == ["8.00x", "*4.00x", "1.00x"]
    assert speed.title.endswith("* fastest that answers as fp32 does")
    assert [row[9] for row in speed.rows] == ["85.00", "88.00", "90.00"]
    assert bench.notes() == [
        "WARNING: <new> under onnx-int8 answers only 60.0 % of the rows as fp32 does, so that it is not recommended.",
        MENDS,
    ]
    write_picture(bench, tmp_path / "bench.html")
    page = (tmp_path / "bench.html").read_text(encoding="utf-8")
    assert "<h1>dense under ONNX Runtime int8 is up to 4.0× as fast" in page
    assert "WARNING" in page


def test_times_without_scores_say_so() -> None:
    (note,) = made_up(scores=False).notes()
    assert note.startswith("Times alone: the answers of dense under onnx-int8, <new> under onnx-int8 were not compared")


def test_nothing_beats_the_frontier() -> None:
    points = [(1.0, 90.0), (4.0, 88.0), (2.0, 85.0), (8.0, 85.0), (8.0, 84.0), (1.0, 89.0)]
    assert frontier(points) == [0, 1, 3]


def figures(page: str) -> list[Any]:
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', page)]


def test_the_picture_shows_speed_against_score(tmp_path: Path) -> None:
    write_picture(made_up(), tmp_path / "bench.html")
    page = (tmp_path / "bench.html").read_text(encoding="utf-8")
    line, dense, new = figures(page)[0]["data"]
    assert (line["x"], line["y"]) == ([10, 40, 80], [90, 88, 85])
    assert (dense["text"], new["text"]) == (["", "onnx-int8"], ["onnx-int8"])
    assert new["name"] == "<new>"
    assert "<new>" not in page.replace("\\u003cnew\\u003e", "")
    assert not re.search(r'(src|href)="', page)


def test_the_picture_of_a_search_shows_its_budget(tmp_path: Path) -> None:
    table = TextTable("Models", ["model"], [["small"]])
    told = Told("trimformer compress", ["<Small> is fast.", "It holds."], 0.97, [table])
    write_picture(made_up(), tmp_path / "frontier.html", told)
    page = (tmp_path / "frontier.html").read_text(encoding="utf-8")
    (figure,) = figures(page)[:1]
    assert [trace["name"] for trace in figure["data"]] == ["frontier", "dense"]  # the other is 12 points below
    assert (figure["layout"]["shapes"][0]["y0"], figure["layout"]["shapes"][0]["y1"]) == (97, 97)
    assert "<h1>&lt;Small&gt; is fast.</h1>" in page
    assert page.index("<p>It holds.</p>") < page.index("<h2>Models</h2>")


def test_without_scores_it_shows_bars(tmp_path: Path) -> None:
    write_picture(made_up(scores=False), tmp_path / "bench.html")
    bars = figures((tmp_path / "bench.html").read_text(encoding="utf-8"))[0]["data"]
    assert [bar["x"] for bar in bars] == [[40, 10], [80]]
    assert len({label for bar in bars for label in bar["y"]}) == 3


def test_the_picture_is_a_page() -> None:
    with pytest.raises(TrimformerError, match=r"ends in \.html"):
        check_picture(Path("bench.png"))
