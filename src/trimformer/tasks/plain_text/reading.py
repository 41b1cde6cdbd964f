"""Read plain text piece by piece, however long its files and its lines are."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from ...errors import TrimformerError
from ..tables.files import HALF_CHARACTER, LINES, UTF16, did_you_mean, encodable, ending, is_utf16

Unit = Literal["line", "paragraph"]
"""What a text is in files without columns: a line, or the lines up to a blank one."""

LONGEST = 2**20
"""Bytes of a text that are read at once: what is longer is read as several texts, cut between two words."""
LONGEST_RECORD = 2**26
"""Bytes of a line of JSON, which can only be read whole."""
PLAIN = ("txt", "text", "tokens", "raw")
ENDINGS = "text without columns (.txt, .tokens or no known ending), .jsonl and .parquet, all but the last also as .gz"
TABLES = ("csv", "tsv", "json", "zip", "bz2", "xz", "zst", "tar", "pdf", "docx", "html", "xml")
"""Endings that are no plain text."""


class Text(NamedTuple):
    """One text; place: where the next one begins, in bytes of the file as it is unpacked, or in rows of a table."""

    text: str
    place: int


def texts(path: Path, column: str, unit: Unit, begin: int = 0) -> Iterator[Text]:
    """The texts of a file that are not blank, from a place on. column: of files that have columns.

    Raises TrimformerError for a file that is missing, binary or not UTF-8, or that has no such column.
    """
    if not path.is_file():
        parent = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise TrimformerError(f"The path {path} is not a file of texts: correct it.{did_you_mean(path.name, parent)}")
    kind = ending(path)
    if kind in TABLES:
        raise TrimformerError(f"The file {path} is no plain text: give {ENDINGS}.")
    if kind == "parquet":
        return _parquet(path, column, begin)
    return _records(path, column, begin) if kind in LINES else _plain(path, unit, begin)


def _plain(path: Path, unit: Unit, begin: int) -> Iterator[Text]:
    parts: list[str] = []
    size, place = 0, begin
    for line, end in _pieces(path, begin):
        if unit == "line" and line:
            yield Text(line, end)
        elif unit == "paragraph":
            if parts and (not line or size + len(line) > LONGEST):
                yield Text(" ".join(parts), place)
                parts, size = [], 0
            parts += [line] if line else []
            size += len(line)
        place = end
    if parts:
        yield Text(" ".join(parts), place)


def _pieces(path: Path, begin: int) -> Iterator[tuple[str, int]]:
    """Lines, and pieces of those that are too long, without white space around them, with where the next one begins."""
    with _opened(path, begin) as file:
        place, rest = begin, b""
        while raw := rest + _read(file, path, LONGEST - len(rest)):
            whole = len(raw) < LONGEST or raw.endswith(b"\n")
            kept = len(raw) if whole else _cut(raw)
            raw, rest = raw[:kept], raw[kept:]
            text = _decoded(raw, path, place)
            place += len(raw)
            yield " ".join(text.split()) if "\r" in text else text.strip(), place


def _cut(raw: bytes) -> int:
    """How many bytes of a line that goes on belong to its next piece: up to the last blank, or to whole characters."""
    blank = max(raw.rfind(b" "), raw.rfind(b"\t"))
    if blank > 0:
        return blank + 1
    end = len(raw)
    while end > 1 and raw[end - 1] & 0xC0 == 0x80:  # the bytes of a character behind its first one
        end -= 1
    return end - 1 or len(raw)


def _records(path: Path, column: str, begin: int) -> Iterator[Text]:
    with _opened(path, begin) as file:
        place = begin
        while raw := _read(file, path, LONGEST_RECORD):
            where = f"the line at byte {place} of {path}"
            if len(raw) == LONGEST_RECORD:
                raise TrimformerError(
                    f"In {where}, there are more than {LONGEST_RECORD >> 20} MB: write a record for each text."
                )
            line = _decoded(raw, path, place).strip()
            place += len(raw)
            if not line:
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise TrimformerError(f"In {where}, there is no valid JSON ({error}): correct it.") from error
            if not isinstance(record, dict) or not isinstance(record.get(column), str):
                names = ", ".join(record) if isinstance(record, dict) else type(record).__name__
                raise TrimformerError(
                    f"In {where}, there is no text in '{column}' (found: {names}): name the column with task.text."
                )
            if "\\ud" in line.lower() and not encodable(record[column]):
                raise TrimformerError(f"In {where}, {HALF_CHARACTER}: correct this line.")
            if text := record[column].strip():
                yield Text(text, place)


def _parquet(path: Path, column: str, begin: int) -> Iterator[Text]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise TrimformerError(f"The file {path} is not readable as Parquet ({reason}): write it again.") from error
    names = file.schema_arrow.names
    if column not in names:
        raise TrimformerError(
            f"The file {path} has no column '{column}': name one of its own ({', '.join(names)}) with task.text."
            f"{did_you_mean(column, names)}"
        )
    place = 0
    for batch in file.iter_batches(batch_size=1000, columns=[column]):
        for value in batch.column(0).to_pylist():
            place += 1
            if place <= begin or value is None:
                continue
            if not isinstance(value, str):
                raise TrimformerError(f"In row {place} of {path}, the column '{column}' holds no text: correct it.")
            if value.strip():
                yield Text(value.strip(), place)


def _opened(path: Path, begin: int) -> IO[bytes]:
    zipped = path.suffix.lower() == ".gz"
    file = cast("IO[bytes]", gzip.open(path) if zipped else path.open("rb"))  # noqa: SIM115  (the caller closes it)
    try:
        head = file.read(4096)
        if is_utf16(head):
            raise TrimformerError(UTF16.format(name=f"The file {path}"))
        if b"\0" in head:
            raise TrimformerError(f"The file {path} is binary: give {ENDINGS}.")
        file.seek(begin)
    except (OSError, EOFError, zlib.error) as error:
        file.close()
        raise _unreadable(path, error) from error
    except TrimformerError:
        file.close()
        raise
    return file


def _read(file: IO[Any], path: Path, most: int) -> bytes:
    try:
        found: bytes = file.readline(most)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    return found


def _unreadable(path: Path, error: Exception) -> TrimformerError:
    return TrimformerError(f"The file {path} cannot be read ({error}): check it or write it again.")


def _decoded(raw: bytes, path: Path, place: int) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TrimformerError(
            f"The file {path} is not UTF-8 at byte {place + error.start} (0x{raw[error.start]:02x}): save it as UTF-8, "
            "for example with iconv -f WINDOWS-1252 -t UTF-8."
        ) from error
    if "\0" in text:
        raise TrimformerError(f"The file {path} is binary (a zero at byte {place + raw.index(0)}): give {ENDINGS}.")
    return text if place else text.removeprefix("\ufeff")
