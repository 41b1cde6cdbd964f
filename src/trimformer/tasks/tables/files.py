"""Tables from CSV, TSV, JSONL, JSON (each plain or .gz) and Parquet, every row knowing where it stands."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ...errors import TrimformerError
from ..data import did_you_mean
from .quotes import UNCLEAR, quotes_of

LISTS = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json", ".json.gz", ".parquet")
"""Endings of tables whose cells may hold lists."""

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", *LISTS)
PLAIN = (".txt", ".txt.gz")
"""Endings of files with one text a line, which are tables with the only column `text`."""
LONGEST_LINE = 2**24
"""Characters of a line in such a file; a tokenizer keeps many bytes for each."""

DELIMITED = ("csv", "tsv")

LINES = ("jsonl", "ndjson")

ARRAY = " (jq -c '.[]' does it for an array)"

_NAMES = re.compile(r'(?P<name>"(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[][{}]')
"""A name in an object, a string, or a bracket."""

HALF_CHARACTER = "half of a surrogate pair (such as \\ud800) stands in the text"

DIVIDERS = {
    ";": ("semicolons", "save it with commas"),
    "|": ("bars", "save it with commas"),
    "\t": ("tabs", "call it .tsv"),
}
"""What stands between the columns of files that are called .csv, other than commas: its name, and the remedy."""

RECORDS = "write an array with an object of columns for each row (orient='records' of pandas)"
UTF16 = "{name} is UTF-16: save it as UTF-8, for example with iconv -f UTF-16 -t UTF-8."

# The csv module takes longer fields than its own limit, 131072 characters, for a mistake; whole documents are not.
csv.field_size_limit(100_000_000)


@dataclass(frozen=True)
class Table:
    """Rows of one file; `lines[i]` is where row i begins (a 1-based line, in Parquet and JSON a 1-based row).

    note: how it was read, where that was not clear.
    """

    path: Path
    names: list[str]
    rows: list[Sequence[object]]
    lines: list[int]
    dropped: int = 0
    note: str = ""

    def where(self, row: int) -> str:
        """'line 12 of file', for messages."""
        return f"{unit(self.path)} {self.lines[row]} of {self.path}"

    def column(self, name: str) -> list[object]:
        """The cells of one column; raises TrimformerError naming the columns if it is not among them."""
        if name not in self.names:
            columns = ", ".join(self.names)
            raise TrimformerError(
                f"The file {self.path} has no column '{name}': name one of its own ({columns})."
                f"{did_you_mean(name, self.names)}"
            )
        at = self.names.index(name)
        return [row[at] for row in self.rows]


def ending(path: Path) -> str:
    """The ending in lower case, without dot and without .gz."""
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def unit(path: Path) -> str:
    """What the rows of a file are counted in."""
    return "row" if ending(path) in ("parquet", "json") else "line"


def read_table(path: Path, endings: Sequence[str] = ENDINGS) -> Table:
    """Read a file by its ending; the first line of CSV and TSV names the columns, and blank lines are no rows.

    Raises TrimformerError for a missing, empty, ragged, broken or non-UTF-8 file and for an unknown ending; its
    message lists `endings`.
    """
    if path.is_dir():
        raise TrimformerError(f"The path {path} is a folder: name a file in it.")
    if not path.is_file():
        raise TrimformerError(f"The path {path} is not a file: correct it.{_sibling(path)}")
    kind = ending(path)
    if kind == "csv":
        return _csv(path, read_text(path), ",")
    if kind == "tsv":
        return _tsv(path)
    if kind == "json":
        return _json(path)
    if kind == "txt":
        return _lines(path)
    if kind in LINES:
        return _jsonl(path, read_text(path))
    if kind == "parquet" and path.suffix.lower() != ".gz":
        return _parquet(path)
    raise TrimformerError(f"The file {path} has an unknown ending: use one of {', '.join(endings)}.")


def read_tsv(path: Path, names: Sequence[str] | None = None, drop_ragged: bool = False) -> Table:
    """A TSV file whose quotes are letters, as corpora have them; `names` are the columns of a file without a header.

    `drop_ragged` leaves out and counts rows with another number of columns instead of raising
    TrimformerError.
    """
    # Split on "\n" only: str.splitlines would also cut at U+2028 and form feeds inside a sentence.
    lines = (line.removesuffix("\r").split("\t") for line in read_text(path).split("\n"))
    numbered = ((number, cells) for number, cells in enumerate(lines, 1) if cells != [""])
    return _delimited(path, numbered, names, drop_ragged)


def read_text(path: Path) -> str:
    """The text of a plain or .gz file without its byte order mark; raises TrimformerError unless UTF-8."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise TrimformerError(f"The file {path} cannot be read ({error}): check it or write it again.") from error
    try:
        if is_utf16(raw):
            raise TrimformerError(UTF16.format(name=f"The file {path}"))
        text = raw.decode("utf-8").removeprefix("\ufeff")
        return text if "\n" in text else text.replace("\r", "\n")  # a bare \r ended lines once
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TrimformerError(
            f"The file {path} is not UTF-8 at line {line} (byte 0x{raw[error.start]:02x} at offset {error.start}): "
            "save it as UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8."
        ) from error


def is_utf16(raw: bytes) -> bool:
    """Whether bytes begin as UTF-16 does, or have no mark and a zero for every other letter."""
    begin = raw[:4096]
    return begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 3 * begin.count(0) > len(begin)


def refuse_divider(name: str, header: Sequence[str]) -> None:
    """Raise TrimformerError where the header of a CSV file has no commas, but what other programs write for them."""
    for divider, (what, remedy) in DIVIDERS.items():
        if len(header) == 1 and divider in header[0]:
            shown = header[0].replace("\t", "\\t")
            raise TrimformerError(f"The columns of {name} are divided by {what} ({shown}): {remedy}.")


def cell_text(cell: object) -> str | None:
    """A cell as text; None where the cell is missing (null, NaN) or not a plain value."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell) if isinstance(cell, int) else None


def encodable(text: str) -> bool:
    """False where it holds a lone surrogate, which JSON can write and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tsv(path: Path) -> Table:
    """A TSV file of the user's, whose quotes are what :func:`quotes_of` finds."""
    text = read_text(path)
    found = quotes_of(io.StringIO(text, newline="\n")) if '"' in text else "letters"
    if found == "marks":
        return _csv(path, text, "\t")
    return replace(read_tsv(path), note=UNCLEAR.format(name=path) if found == "unclear" else "")


def _csv(path: Path, text: str, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def rows() -> Iterable[tuple[int, list[str]]]:
        begin = 1
        try:
            for cells in reader:
                if cells:
                    yield begin, cells
                begin = reader.line_num + 1
        except csv.Error as error:
            raise TrimformerError(
                f"The row in line {begin} of {path} is not valid CSV ({error}): correct its quotes."
            ) from error

    return _delimited(path, rows(), None, drop_ragged=False)


def _delimited(
    path: Path, numbered: Iterable[tuple[int, list[str]]], names: Sequence[str] | None, drop_ragged: bool
) -> Table:
    rows: list[Sequence[object]] = []
    lines: list[int] = []
    dropped = 0
    for number, cells in numbered:
        if names is None:
            names = [cell.strip() for cell in cells]
            if ending(path) == "csv":
                refuse_divider(str(path), names)
            if len(set(names)) < len(names):
                raise TrimformerError(f"The file {path} names a column twice ({', '.join(names)}): rename one of them.")
        elif len(cells) == len(names):
            rows.append(cells)
            lines.append(number)
        elif drop_ragged:
            dropped += 1
        else:
            raise TrimformerError(
                f"The row in line {number} of {path} has {len(cells)} columns where {len(names)} are expected: correct "
                "this row."
            )
    return _filled(Table(path, list(names or []), rows, lines, dropped))


class NamedTwice(ValueError):
    """An object of JSON has two values by one name, of which Python would keep the last."""


def unique_names(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; raises NamedTwice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NamedTwice(f"the name {twice!r} stands twice in one object")
    return found


def load_json(text: str) -> object:
    """The value of a JSON text; raises ValueError with the place of the mistake, also for a name that stands twice."""
    try:
        return json.loads(text, object_pairs_hook=unique_names)
    except NamedTwice as error:
        raise json.JSONDecodeError(str(error), text, _second(text)) from error


def _second(text: str) -> int:
    """Where the first name stands that its object in this valid JSON has already."""
    names: list[set[str]] = []
    for found in _NAMES.finditer(text):
        if found[0] in "[{":
            names.append(set())
        elif found[0] in "]}":
            names.pop()
        elif found["name"]:
            if (name := json.loads(found["name"])) in names[-1]:
                return found.start()
            names[-1].add(name)
    return 0


def json_form(text: str) -> Literal["array", "lines", "object"]:
    """What a .json file holds: an array, an object a line (which some call .json, too), or one object, as SQuAD is."""
    text = text.strip()
    if text.startswith("["):
        return "array"
    first, _, more = text.partition("\n")
    try:
        return "lines" if more and isinstance(json.loads(first), dict) else "object"
    except (ValueError, RecursionError):
        return "object"


def _json(path: Path) -> Table:
    text = read_text(path)
    form = json_form(text)
    if form == "lines":
        table = _jsonl(path, text)
        return replace(table, lines=list(range(1, len(table.rows) + 1)))
    try:
        values = load_json(text)
    except (ValueError, RecursionError) as error:
        raise TrimformerError(f"The file {path} is not valid JSON ({error}): correct it.") from error
    if not isinstance(values, list):
        raise TrimformerError(f"The file {path} is one JSON object: {RECORDS}.")
    lines = list(range(1, len(values) + 1))
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise TrimformerError(f"Row {number} of {path} is not a JSON object: write one {{...}} with its columns.")
        if not encodable(json.dumps(value, ensure_ascii=False)):
            raise TrimformerError(f"In row {number} of {path}, {HALF_CHARACTER}: correct this row.")
    return _objects(path, values, lines)


def _lines(path: Path) -> Table:
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    for number, line in lines:
        if "\0" in line:
            raise TrimformerError(f"The file {path} is binary (a zero in line {number}): name a file of texts.")
        if len(line) > LONGEST_LINE:
            raise TrimformerError(
                f"Line {number} of {path} has {len(line) / 1e6:.0f} million characters, and each line is one text: "
                "write a line for each text."
            )
    return _filled(Table(path, ["text"], [[line] for _, line in lines], [number for number, _ in lines]))


def _jsonl(path: Path, text: str) -> Table:
    objects: list[dict[str, object]] = []
    lines: list[int] = []
    hint = ARRAY if text.lstrip().startswith("[") else ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = load_json(line)
        except (ValueError, RecursionError) as error:
            raise TrimformerError(
                f"Line {number} of {path} is not valid JSON ({error}): correct this line{hint}."
            ) from error
        if not isinstance(value, dict):
            raise TrimformerError(
                f"Line {number} of {path} is not a JSON object: write one {{...}} with the columns per line{ARRAY}."
            )
        if "\\ud" in line.lower() and not encodable(json.dumps(value, ensure_ascii=False)):
            raise TrimformerError(f"In line {number} of {path}, {HALF_CHARACTER}: correct this line.")
        objects.append(value)
        lines.append(number)
    return _objects(path, objects, lines)


def _objects(path: Path, objects: Sequence[dict[str, object]], lines: list[int]) -> Table:
    names = list(dict.fromkeys(name for value in objects for name in value))
    return _filled(Table(path, names, [[value.get(name) for name in names] for value in objects], lines))


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise TrimformerError(f"The file {path} is not readable as Parquet ({reason}): write it again.") from error
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return _filled(Table(path, list(table.column_names), list(rows), list(range(1, len(rows) + 1))))


def _filled(table: Table) -> Table:
    if not table.rows:
        raise TrimformerError(f"The file {table.path} has no rows: add some or name another file.")
    return table


def _sibling(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, sorted(entry.name for entry in path.parent.iterdir()))
