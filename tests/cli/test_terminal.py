"""What commands print: nothing in it is read as an instruction to the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimformer_cli.jobs import show_report
from trimformer_cli.terminal import print_table

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
