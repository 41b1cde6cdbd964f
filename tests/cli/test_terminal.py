"""What commands print: nothing in it is read as an instruction to the terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from trimformer_cli import terminal
from trimformer_cli.jobs import show_report
from trimformer_cli.terminal import prepare_streams, print_table

from ..report.conftest import example


def test_a_label_is_shown_on_one_line_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["label", "f1"], [["a\nb\x1b[31m", "[/x]"]])
    printed = capsys.readouterr().out
    assert r"a\nb\x1b[31m" in printed
    assert "[/x]" in printed


def test_the_notes_of_a_run_are_shown_and_its_path_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    report = example()
    report.notes = ["the head was replaced [/x]", *report.notes]
    show_report(report, Path("runs/[/x]"), as_json=False)
    printed = capsys.readouterr().out
    assert "the head was replaced [/x]\nattendout: kept layers 0, 2 and 3.\n3 of 872" in printed
    assert "runs/[/x]" in printed


ROWS = [("all", "with embeddings and head", "", "5,410"), ("0", "mean", 12, "1,960,123")]


@pytest.mark.parametrize(
    ("width", "shown"), [(80, "    12 │"), (40, "  heads: 12\n  weights: 1,960,123\n"), (20, "  heads: 12\n")]
)
def test_no_figure_is_cut_off_by_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, width: int, shown: str) -> None:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "output", Console(file=file, width=width, highlight=False))
    print_table(["the layers of a model", "attention", "heads", "weights"], ROWS, "title [/x]")
    printed = file.getvalue()
    assert "1,960,123" in printed
    assert "5,410" in printed
    assert "title" in printed
    assert shown in printed


def test_an_ascii_terminal_gets_a_table_of_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    prepare_streams()
    print_table(["label", "f1"], [["süß", "0.5"]])
    stream.flush()
    assert r"| s\xfc\xdf" in raw.getvalue().decode("ascii")
