"""The command line, run in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any, NamedTuple
from unittest.mock import patch

from trimformer_cli import main


class Result(NamedTuple):
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def trimformer(*arguments: Any, stdin: str | bytes = "") -> Result:
    """What the command `trimformer` does with these arguments."""
    raw = stdin.encode() if isinstance(stdin, str) else stdin
    code: Any = 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        patch.object(sys, "argv", ["trimformer", *map(str, arguments)]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8")),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Result(code or 0, out.getvalue(), err.getvalue())


def sentence(result: Result) -> str:
    """The one sentence of a user's mistake: exit code 2, one line on standard error, nothing on standard output."""
    assert (result.code, result.out) == (2, "")
    line, end = result.err[:-1], result.err[-1]
    assert line.startswith("error: ")
    assert end == "\n"
    assert "\n" not in line
    assert line.endswith((".", "?", "`"))
    return line.removeprefix("error: ")
