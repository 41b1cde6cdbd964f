"""A source as pieces of whole rows, and the rows of a piece."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ...encoder.model.heads import Kind
from ...errors import TrimformerError
from ...tasks.data import did_you_mean
from ...tasks.kinds import KINDS
from ...tasks.tables.files import cell_text
from ..batches import Row

PIECE_LINES = 4096
PIECE_BYTES = 256 * 1024
LINE_BYTES = 16 * 2**20
"""Of one line: no text is so long, and a file without line ends shall not fill the memory."""
TABLES = (".csv", ".tsv")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Place(NamedTuple):
    """Where a piece stands in its source: first byte and end, first line and the next one after it."""

    start: int
    end: int
    line: int
    next_line: int


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some whole rows of a source, as they stand there: what one worker labels at a time.

    line: number of the first line, from 1. start: position of ``data`` in the source, in bytes. header: the lines that
    name the columns of CSV and TSV, else empty.
    """

    data: bytes
    line: int
    start: int
    header: bytes = b""

    @property
    def place(self) -> Place:
        return Place(self.start, self.start + len(self.data), self.line, self.line + self.data.count(b"\n"))


def split(source: BinaryIO, ending: str, start: int = 0, line: int = 1) -> Iterator[Piece]:
    """Pieces of at most 4096 lines or about 256 KiB, in order; reads only as far as pieces are taken.

    The same source always gives the same pieces. start, line: go on where a piece ended (its end and next line).
    """
    rows = _whole_rows(source, ending)
    header = b""
    if ending in TABLES:
        header = b"".join(next(rows, []))
        while header and not header.removeprefix(BYTE_ORDER_MARK).strip() and (row := next(rows, [])):
            header += b"".join(row)
    if start:
        source.seek(start)
    else:
        start, line = len(header), 1 + header.count(b"\n")
    lines: list[bytes] = []
    size = 0
    for row in rows:
        lines += row
        size += sum(map(len, row))
        if len(lines) >= PIECE_LINES or size >= PIECE_BYTES:
            piece = Piece(b"".join(lines), line, start, header)
            yield piece
            _, start, _, line = piece.place
            lines, size = [], 0
    if lines:
        yield Piece(b"".join(lines), line, start, header)


def _whole_rows(source: BinaryIO, ending: str) -> Iterator[list[bytes]]:
    """The lines of each row: one, except in CSV, where a quoted cell may hold line ends."""
    if ending != ".csv":
        for line in _bounded(source):
            yield [line]
        return
    taken: list[bytes] = []

    def lines() -> Iterator[str]:
        for line in _bounded(source):
            taken.append(line)
            yield line.decode("latin-1")  # any bytes will do: what divides cells and rows is ASCII

    with contextlib.suppress(csv.Error):  # who reads the piece says what is wrong with its last row, and where
        for _ in csv.reader(lines(), strict=True):
            yield taken
            taken = []
    if taken:
        yield taken


def _bounded(source: BinaryIO) -> Iterator[bytes]:
    while line := source.readline(LINE_BYTES + 1):
        if len(line) > LINE_BYTES:
            raise TrimformerError(f"The input has a line of more than {LINE_BYTES // 2**20} MiB: divide it into lines.")
        yield line


@dataclasses.dataclass(frozen=True)
class Format:
    """How the rows of a source are to be read; made by :func:`format_of`.

    name: of the source, in messages. ending: ``.jsonl``, ``.csv`` and ``.tsv`` have columns, all others one row per
    line. columns: to take, in the order in which the model reads them. words: whether a row is a list of words.
    """

    name: str
    ending: str
    columns: tuple[str, ...]
    words: bool = False

    def read(self, piece: Piece) -> Iterator[Row]:
        """The rows of a piece. A blank line is a row of a text file, and none of the others.

        Raises TrimformerError naming the line for what cannot be read, and the columns where one is missing.
        """
        lines = self._lines(piece.data if piece.start else piece.data.removeprefix(BYTE_ORDER_MARK), piece.line)
        if self.ending in TABLES:
            header = self._lines(piece.header.removeprefix(BYTE_ORDER_MARK), 1)
            names = next((cells for _, cells in self._cells(header, 1)), [])
            yield from self._columns(self._named(self._cells(lines, piece.line), [name.strip() for name in names]))
        elif self.ending == ".jsonl":
            yield from self._columns(self._objects(lines, piece.line))
        else:
            for line in lines:
                yield line.rstrip("\r\n")

    def _lines(self, data: bytes, line: int) -> Iterable[str]:
        try:
            return io.StringIO(data.decode("utf-8"), newline="\n")
        except UnicodeDecodeError as error:
            line += data.count(b"\n", 0, error.start)
            raise TrimformerError(f"{self.name} is not UTF-8 at line {line}: convert it first.") from error

    def _cells(self, lines: Iterable[str], line: int) -> Iterator[tuple[int, list[str]]]:
        """First line and cells of each row that is not empty."""
        if self.ending == ".tsv":
            reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(lines, strict=True)
        before = line - 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = before + reader.line_num + 1
        except csv.Error as error:
            raise TrimformerError(
                f"Line {line} of {self.name} is not valid CSV ({error}): correct this row."
            ) from error

    def _named(self, rows: Iterable[tuple[int, list[str]]], names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, cells in rows:
            if len(cells) != len(names):
                raise TrimformerError(
                    f"Line {line} of {self.name} has {len(cells)} columns where {len(names)} are expected: correct "
                    "this row."
                )
            yield line, dict(zip(names, cells, strict=True))

    def _objects(self, lines: Iterable[str], first: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(lines, first):
            if line.strip():
                try:
                    value = json.loads(line)
                except ValueError as error:
                    raise TrimformerError(
                        f"Line {number} of {self.name} is not valid JSON ({error}): correct this line."
                    ) from error
                if not isinstance(value, dict):
                    raise TrimformerError(
                        f"Line {number} of {self.name} is not a JSON object with the columns: correct this line."
                    )
                yield number, value

    def _columns(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Row]:
        for line, row in rows:
            where = f"{self.name}, line {line}"
            if self.words:
                yield _words(_cell(row, self.columns[0], where), self.columns[0], where)
            else:
                texts = [_text(_cell(row, column, where), column, where) for column in self.columns]
                yield texts[0] if len(texts) == 1 else (texts[0], texts[1])


def format_of(name: str, kind: Kind, text: str | None = None, text_pair: str | None = None) -> Format:
    """The format of a source by its name's ending, with the columns that this kind of task reads.

    Raises TrimformerError for a source that cannot be read as a stream, and for columns of one that has none.
    """
    ending = Path(name).suffix.lower()
    if ending == ".ndjson":
        ending = ".jsonl"
    if ending == ".json":
        raise TrimformerError(
            f"{name} cannot be read as a stream: write its array as JSON lines (jq -c '.[]'), or name it .jsonl if "
            "each line is an object."
        )
    if ending in (".parquet", ".gz"):
        raise TrimformerError(f"{name} cannot be read as a stream: give JSONL, CSV, TSV or plain text.")
    words, (first, second) = KINDS[kind].words, KINDS[kind].columns
    if words and text_pair:
        raise TrimformerError("--text-pair has no meaning for a model that tags words: leave it out.")
    if ending not in (*TABLES, ".jsonl"):
        if text or text_pair:
            raise TrimformerError(f"{name} is read as plain lines, without columns: leave --text and --text-pair out.")
        if second is not None:
            raise TrimformerError(f"{name} has no columns for question and context: give JSONL, CSV or TSV.")
        return Format(name, "", ())
    text, text_pair = text or first, text_pair or second
    return Format(name, ending, (text,) if text_pair is None else (text, text_pair), words)


def _cell(row: dict[str, Any], column: str, where: str) -> Any:
    if column not in row:
        known = list(row)
        near = did_you_mean(column, known)
        raise TrimformerError(
            f"In {where} there is no column {column!r}: name one of its own ({', '.join(known)}).{near}"
        )
    return row[column]


def _text(cell: Any, column: str, where: str) -> str:
    value = cell_text(cell)
    if value is None:
        raise TrimformerError(f"In {where} the column {column!r} is empty or holds no plain value: correct this row.")
    return _encodable(value, where)


def _words(cell: Any, column: str, where: str) -> list[str]:
    """A list of words, or words with white space between them."""
    if isinstance(cell, str):
        return _encodable(cell, where).split()
    if not isinstance(cell, list) or not all(isinstance(word, str) for word in cell):
        raise TrimformerError(f"In {where} the column {column!r} holds no list of words: correct this row.")
    return [_encodable(word, where) for word in cell]


def _encodable(text: str, where: str) -> str:
    """JSON can write half of a character (a lone surrogate), which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TrimformerError(f"In {where} the text holds half of a surrogate pair: correct this row.") from error
    return text
