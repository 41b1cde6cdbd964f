"""The array of a .json file as a stream: its elements as they stand there, and the values of some of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from ...errors import TrimformerError
from ...tasks.tables.files import unique_names

CHUNK = 2**20
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)|[][{},]', re.DOTALL)
"""A string, perhaps cut off at the end (its group is then no quote), or what divides values."""


def opening(source: BinaryIO) -> bytes:
    """All up to the bracket that opens the array, which is read over."""
    taken = b""
    while not taken.endswith(b"["):
        if not (letter := source.read(1)):
            break
        taken += letter
    return taken


def elements(source: BinaryIO, longest: int) -> Iterator[bytes]:
    """From inside the array, each element with the comma after it, the last one with all that follows it.

    longest: bytes of an element. Raises TrimformerError for a longer one, and where the array does not end.
    """
    rest, depth = b"", 0
    at = 0  # in the rest: where the search for what divides values goes on
    while chunk := source.read(CHUNK):
        rest += chunk
        begin = 0
        while found := TOKEN.search(rest, at):
            token = found[0]
            if token[:1] == b'"':
                if found[1] != b'"':
                    break
            elif token in b"[{":
                depth += 1
            elif token in b"]}":
                depth -= 1
                if depth < 0:
                    yield rest[begin:] + source.read(CHUNK)  # blanks; whoever reads it refuses all else
                    return
            elif depth == 0:
                yield rest[begin : found.end()]
                begin = found.end()
            at = found.end()
        else:
            at = len(rest)
        rest, at = rest[begin:], at - begin
        if len(rest) > longest:
            raise TrimformerError(
                f"The input has an element of more than {longest // 2**20} MiB in its array: divide it."
            )
    end = source.tell()
    source.seek(max(0, end - CHUNK))
    if rest or not source.read().rstrip().endswith(b"]"):  # else a resumed run has all of it
        raise TrimformerError("The input ends inside its JSON array: write the file again.")


def values(text: str) -> Iterator[tuple[int, Any]]:
    """The elements in a text that :func:`elements` gave, each with the number of line ends before it.

    Raises ValueError for what is no JSON.
    """
    decode = json.JSONDecoder(object_pairs_hook=unique_names).raw_decode
    at = _blank(text, 0)
    while at < len(text) and text[at] != "]":
        value, end = decode(text, at)
        yield text.count("\n", 0, at), value
        at = _blank(text, end)
        if at < len(text) and text[at] == ",":
            at = _blank(text, at + 1)
        elif text[at:].strip() != "]":
            raise json.JSONDecodeError("Expecting ',' or the end of the array", text, at)
    if text[at:].strip() not in ("", "]"):
        raise json.JSONDecodeError("Extra data after the array", text, at)


def _blank(text: str, at: int) -> int:
    """The next place from there on that is not blank."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
