"""Standard output gets the bytes of the lines, whatever the terminal is set to, or a closed one is named."""

from __future__ import annotations

import io
import sys

import pytest

from trimformer.errors import TrimformerError
from trimformer.inference.predict.command import predict_file
from trimformer.inference.predict.labeller import Done
from trimformer.inference.predict.output import standard_output
from trimformer.inference.predict.rows import Place


def test_an_ascii_terminal_gets_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    with standard_output() as add:
        add(Place(0, 1, 1, 2), Done("süß\n".encode(), 1))
    assert raw.getvalue() == "süß\n".encode()


def test_closed_streams_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(TrimformerError, match=r"Standard output is closed: name a file for the lines with --out\."):
        standard_output().__enter__()
    with pytest.raises(TrimformerError, match=r"Standard input is closed: name a file\."):
        predict_file("model", "-")
