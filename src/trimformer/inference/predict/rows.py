"""A source as pieces of whole rows, and the rows of a piece."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ...tasks.data import did_you_mean
from ...tasks.kinds import KINDS
from ...tasks.tables.files import RECORDS, UTF16, cell_text, is_utf16, load_json, refuse_divider
from ...tasks.tables.quotes import UNCLEAR, Quotes, quotes_of
from ..batches import Row
from .array import elements, opening, values

PIECE_LINES = 4096
PIECE_BYTES = 256 * 1024
LINE_BYTES = 16 * 2**20
"""Of one line: no text is so long, and a file without line ends shall not fill the memory."""
TABLES: dict[str, dict[str, Any]] = {
    ".csv": {"strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
    "quoted .tsv": {"delimiter": "\t", "strict": True},
}
"""How the csv module is to read the formats that have a header."""
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
    name the columns of CSV and TSV, of JSON the bracket that opens the array, else empty.
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
    header = opening(source) if ending == ".json" else _header(source, ending)
    if start:
        source.seek(start)
    else:
        start, line = len(header), 1 + header.count(b"\n")
    if ending != ".json":
        _refuse_bare_cr(header)
    lines: list[bytes] = []
    size = 0
    for row in _whole_rows(source, ending):
        if start == 0 and not lines:
            _refuse_bare_cr(row[0])
        lines += row
        size += sum(map(len, row))
        if len(lines) >= PIECE_LINES or size >= PIECE_BYTES:
            piece = Piece(b"".join(lines), line, start, header)
            yield piece
            _, start, _, line = piece.place
            lines, size = [], 0
    if lines or (header and start == len(header)):  # whoever reads the piece says what is wrong with the header
        yield Piece(b"".join(lines), line, start, header)


def _header(source: BinaryIO, ending: str) -> bytes:
    """The first row of a table that is not blank, with what stands before it."""
    header = b""
    rows = _whole_rows(source, ending) if ending in TABLES else iter(())
    for row in rows:
        header += b"".join(row)
        if header.removeprefix(BYTE_ORDER_MARK).strip():
            break
    return header


def _refuse_bare_cr(first: bytes) -> None:
    """first: line of a source."""
    if b"\n" not in first and b"\r" in first.rstrip(b"\r"):
        raise TrimformerError("The lines of the input end with a bare \\r: write \\n for each (tr '\\r' '\\n').")


def _whole_rows(source: BinaryIO, ending: str) -> Iterator[list[bytes]]:
    """The lines of each row: one, except where a quoted cell, or an element of an array, may hold line ends."""
    if ending == ".json":
        for element in elements(source, LINE_BYTES):
            yield [element]
        return
    if not TABLES.get(ending, {}).get("strict"):
        for line in _bounded(source):
            yield [line]
        return
    taken: list[bytes] = []

    def lines() -> Iterator[str]:
        for line in _bounded(source):
            taken.append(line)
            yield line.decode("latin-1")  # any bytes will do: what divides cells and rows is ASCII

    with contextlib.suppress(csv.Error):  # who reads the piece says what is wrong with its last row, and where
        for _ in csv.reader(lines(), **TABLES[ending]):
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

    name: of the source, in messages. ending: ``.jsonl``, ``.json`` (an array) and TABLES have columns, all others one
    row per line. columns: to take, in the order in which the model reads them. words: whether a row is a list of words.
    note: how it is read, where that was not clear.
    """

    name: str
    ending: str
    columns: tuple[str, ...]
    words: bool = False
    note: str = ""

    def read(self, piece: Piece) -> Iterator[Row]:
        """The rows of a piece. A blank line is a row of a text file, and none of the others.

        Raises TrimformerError naming the line for what cannot be read, and the columns where one is missing.
        """
        header = self._lines(piece.header.removeprefix(BYTE_ORDER_MARK), 1)
        lines = self._lines(piece.data if piece.start else piece.data.removeprefix(BYTE_ORDER_MARK), piece.line)
        if self.ending in TABLES:
            names = next((cells for _, cells in self._cells(header, 1)), [])
            if self.ending == ".csv":
                refuse_divider(self.name, names)
            names = [name.strip() for name in names]
            if twice := [name for name in self.columns if names.count(name) > 1]:
                raise TrimformerError(f"{self.name} names the column {twice[0]!r} twice: rename one of them.")
            yield from self._columns(self._named(self._cells(lines, piece.line), names))
        elif self.ending in (".jsonl", ".json"):
            found = self._objects if self.ending == ".jsonl" else self._elements
            yield from self._columns(self._of_objects(found(lines, piece.line)))
        else:
            for line in lines:
                yield line.rstrip("\r\n")

    def _lines(self, data: bytes, line: int) -> Iterable[str]:
        if is_utf16(data):
            raise TrimformerError(UTF16.format(name=self.name))
        try:
            return io.StringIO(data.decode("utf-8"), newline="\n")
        except UnicodeDecodeError as error:
            line += data.count(b"\n", 0, error.start)
            raise TrimformerError(f"{self.name} is not UTF-8 at line {line}: convert it first.") from error

    def _cells(self, lines: Iterable[str], line: int) -> Iterator[tuple[int, list[str]]]:
        """First line and cells of each row that is not empty."""
        reader = csv.reader(lines, **TABLES[self.ending])
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

    def _objects(self, lines: Iterable[str], first: int) -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(lines, first):
            if line.strip():
                try:
                    yield number, load_json(line)
                except (ValueError, RecursionError) as error:
                    hint = " (of an array the file ends in .json)" if line.lstrip().startswith("[") else ""
                    hint = f", or {RECORDS}" if self.name.lower().endswith(".json") else hint
                    raise TrimformerError(
                        f"Line {number} of {self.name} is not valid JSON ({error}): correct this line{hint}."
                    ) from error

    def _elements(self, lines: Iterable[str], first: int) -> Iterator[tuple[int, Any]]:
        number = first
        try:
            for before, value in values("".join(lines)):
                number = first + before
                yield number, value
        except (ValueError, RecursionError) as error:
            raise TrimformerError(
                f"The array in {self.name} is not valid JSON after line {number} ({error}): correct it."
            ) from error

    def _of_objects(self, found: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, value in found:
            if not isinstance(value, dict):
                hint = " (of an array the file ends in .json)" if isinstance(value, list) else ""
                raise TrimformerError(
                    f"Line {number} of {self.name} is not a JSON object with the columns: correct this line{hint}."
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


def format_of(
    name: str, kind: Kind, text: str | None = None, text_pair: str | None = None, source: Path | None = None
) -> Format:
    """The format of a source by its name's ending, with the columns that this kind of task reads.

    source: the file, which is looked into for what the ending leaves open. Raises TrimformerError for a source that
    cannot be read as a stream, and for columns of one that has none.
    """
    ending = Path(name).suffix.lower()
    note = ""
    if ending == ".ndjson":
        ending = ".jsonl"
    if source is not None and ending == ".json" and not _has_array(source):
        ending = ".jsonl"
    if source is not None and ending == ".tsv":
        found = _quotes(source)
        ending = "quoted .tsv" if found == "marks" else ending
        note = UNCLEAR.format(name=name) if found == "unclear" else ""
    if ending in (".parquet", ".gz"):
        raise TrimformerError(f"{name} cannot be read as a stream: give JSONL, CSV, TSV or plain text.")
    words, (first, second) = KINDS[kind].words, KINDS[kind].columns
    if words and text_pair:
        raise TrimformerError("--text-pair has no meaning for a model that tags words: leave it out.")
    if KINDS[kind].one_text and text_pair:
        raise TrimformerError("--text-pair has no meaning for a model that gives vectors: leave it out.")
    if ending not in (*TABLES, ".jsonl", ".json"):
        if text or text_pair:
            raise TrimformerError(f"{name} is read as plain lines, without columns: leave --text and --text-pair out.")
        if second is not None:
            raise TrimformerError(f"{name} has no columns for question and context: give JSONL, CSV or TSV.")
        return Format(name, "", ())
    text, text_pair = text or first, text_pair or second
    return Format(name, ending, (text,) if text_pair is None else (text, text_pair), words, note)


def _has_array(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(PIECE_BYTES).removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[")


def _quotes(source: Path) -> Quotes:
    with source.open("rb") as file:
        if not any(b'"' in line for line in _bounded(file)):
            return "letters"
        file.seek(0)
        return quotes_of(line.decode("latin-1") for line in _bounded(file))


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
        hint = f", or {RECORDS}" if isinstance(cell, dict | list) else ""
        raise TrimformerError(
            f"In {where} the column {column!r} is empty or holds no plain value: correct this row{hint}."
        )
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
