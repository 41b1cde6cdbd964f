"""Label a stream of texts: rows in, lines out, constant memory."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from .deploy.predictor import Predictor
from .errors import TrimformerError
from .files import atomic_file
from .tasks.data import did_you_mean

Row = str | tuple[str, str]


def predict_stream(
    model: str,
    file: str,
    text: str | None,
    text_pair: str | None,
    *,
    out: Path | None,
    backend: Any,
    batch_size: int,
    as_json: bool,
) -> None:
    """Write one line for each row of ``file`` (``-`` is standard input), in order.

    A line is the label (or the number), or with ``as_json`` an object with label, score and all scores.
    """
    predictor = Predictor(model, backend)
    with ExitStack() as stack:
        source = sys.stdin if file == "-" else stack.enter_context(_open(Path(file)))
        rows = _rows(source, file, text, text_pair)
        if out is not None:
            temporary = stack.enter_context(atomic_file(out))
            target: TextIO = stack.enter_context(temporary.open("w", encoding="utf-8"))
        else:
            target = sys.stdout
        for prediction in predictor.stream(rows, batch_size):
            if as_json:
                line = json.dumps(dataclasses.asdict(prediction), ensure_ascii=False)
            else:
                line = prediction.label if prediction.label is not None else f"{prediction.score:.6g}"
            target.write(line + "\n")


def _open(path: Path) -> TextIO:
    if not path.is_file():
        raise TrimformerError(f"There is no file {path} to predict.")
    return path.open(encoding="utf-8", newline="")


def _rows(source: TextIO, name: str, text: str | None, text_pair: str | None) -> Iterator[Row]:
    """Texts of a file by its ending: .jsonl, .csv and .tsv have columns, anything else one text per line."""
    ending = Path(name).suffix
    try:
        if ending in (".csv", ".tsv"):
            options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if ending == ".tsv" else {}
            yield from _columns(csv.DictReader(source, **options), name, text, text_pair)
        elif ending == ".jsonl":
            yield from _columns(_json_lines(source, name), name, text, text_pair)
        else:
            for line in source:
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise TrimformerError(f"{name} is not UTF-8 ({error}): convert it first.") from error


def _json_lines(source: TextIO, name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(source, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise TrimformerError(f"Line {number} of {name} is not JSON: {error}.") from error


def _columns(rows: Iterator[dict[str, Any]], name: str, text: str | None, text_pair: str | None) -> Iterator[Row]:
    wanted = [text or "text", *([text_pair] if text_pair else [])]
    for number, row in enumerate(rows, 1):
        for column in wanted:
            if row.get(column) is None:
                known = [str(key) for key in row if key is not None]
                raise TrimformerError(
                    f"Row {number} of {name} has no column {column!r}; it has {', '.join(known)}"
                    f"{did_you_mean(column, known)}"
                )
        yield str(row[wanted[0]]) if len(wanted) == 1 else (str(row[wanted[0]]), str(row[wanted[1]]))
