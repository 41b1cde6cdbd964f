"""Standard output gets the bytes of the lines, whatever the terminal is set to."""

from __future__ import annotations

import io
import sys

import pytest

from trimformer.inference.predict.labeller import Done
from trimformer.inference.predict.output import standard_output
from trimformer.inference.predict.rows import Place


def test_an_ascii_terminal_gets_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    with standard_output() as add:
        add(Place(0, 1, 1, 2), Done("süß\n".encode(), 1))
    assert raw.getvalue() == "süß\n".encode()
