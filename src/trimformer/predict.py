"""Label a stream of texts: rows in, lines out, constant memory."""

from __future__ import annotations

import csv
import dataclasses
import io
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
from .tasks.files import cell_text

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
        source = _stdin() if file == "-" else stack.enter_context(_open(Path(file)))
        rows = read_rows(source, "standard input" if file == "-" else file, text, text_pair)
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
    # newline="" leaves line ends to the csv reader; -sig drops a byte order mark.
    return path.open(encoding="utf-8-sig", newline="")


def _stdin() -> TextIO:
    if isinstance(sys.stdin, io.TextIOWrapper):  # whatever the locale says, and no silent replacement
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    return sys.stdin


def read_rows(source: TextIO, name: str, text: str | None = None, text_pair: str | None = None) -> Iterator[Row]:
    """Texts of a file by its ending: .jsonl, .csv and .tsv have columns, anything else one text per line.

    Reads only as far as rows are taken. A blank line is a row of a text file, and none of the others.
    Raises TrimformerError naming the line for what cannot be read, and the columns where one is missing.
    """
    ending = Path(name).suffix.lower()
    try:
        if ending in (".csv", ".tsv"):
            yield from _columns(_cells(source, name, ending), name, text, text_pair)
        elif ending == ".jsonl":
            yield from _columns(_objects(source, name), name, text, text_pair)
        elif ending in (".parquet", ".gz"):
            raise TrimformerError(f"{name} cannot be read as a stream: give JSONL, CSV, TSV or plain text.")
        elif text or text_pair:
            raise TrimformerError(f"{name} is read as plain lines, without columns: leave --text and --text-pair out.")
        else:
            for line in source:
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise TrimformerError(f"{name} is not UTF-8 ({error}): convert it first.") from error


def _cells(source: TextIO, name: str, ending: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and cells by column of each row."""
    if ending == ".tsv":
        reader = csv.reader(source, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(source, strict=True)
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not names:
                names = [cell.strip() for cell in cells]
            elif cells:
                if len(cells) != len(names):
                    raise TrimformerError(
                        f"{name}, line {line}: {len(cells)} columns where {len(names)} are expected: correct this row."
                    )
                yield line, dict(zip(names, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise TrimformerError(f"{name}, line {line}: not valid CSV ({error}): correct this row.") from error


def _objects(source: TextIO, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(source, 1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError as error:
                raise TrimformerError(f"{name}, line {number}: not valid JSON ({error}): correct this line.") from error
            if not isinstance(value, dict):
                raise TrimformerError(f"{name}, line {number}: not a JSON object with the columns: correct this line.")
            yield number, value


def _columns(
    rows: Iterator[tuple[int, dict[str, Any]]], name: str, text: str | None, text_pair: str | None
) -> Iterator[Row]:
    first = text or "text"
    for line, row in rows:
        if text_pair is None:
            yield _value(row, first, f"{name}, line {line}")
        else:
            where = f"{name}, line {line}"
            yield _value(row, first, where), _value(row, text_pair, where)


def _value(row: dict[str, Any], column: str, where: str) -> str:
    if column not in row:
        known = list(row)
        near = did_you_mean(column, known) or "."
        raise TrimformerError(f"{where}: no column {column!r}; name one of its own ({', '.join(known)}){near}")
    value = cell_text(row[column])
    if value is None:
        raise TrimformerError(f"{where}: column {column!r} is empty or holds no plain value: correct this row.")
    return value
