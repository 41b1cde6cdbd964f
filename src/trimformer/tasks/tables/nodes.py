"""JSON values that know where they stand, so that a mistake in them can be named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import TrimformerError
from .files import HALF_CHARACTER, Table, cell_text, encodable, load_json, read_text

Steps = tuple[str | int, ...]
"""The way down to a value: names of fields and indices."""


@dataclass(frozen=True)
class Node:
    """A value, the way to it, and `where`, which names file and line of the value at such a way."""

    value: object
    steps: Steps
    where: Callable[[Steps], str]

    def error(self, message: str) -> TrimformerError:
        """An error at this value; its message follows the value's name, such as data[3].paragraphs[0]."""
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps).removeprefix(".")
        where = self.where(self.steps)
        return TrimformerError(f"In {where}, {name} {message}" if name else f"{where[0].upper()}{where[1:]} {message}")

    def has(self, name: str) -> bool:
        """Whether a field is there and is not null."""
        return isinstance(self.value, dict) and self.value.get(name) is not None

    def field(self, name: str) -> Node:
        """A field of an object; raises TrimformerError where it is missing."""
        if not isinstance(self.value, dict):
            raise self.error(f"is not an object with '{name}': correct it.")
        if not self.has(name):
            raise self.error(f"has no '{name}': add it.")
        return Node(self.value[name], (*self.steps, name), self.where)

    def text(self, name: str) -> str:
        """A field that must be a text."""
        node = self.field(name)
        if not isinstance(node.value, str):
            raise node.error("is not a text: correct it.")
        if not encodable(node.value):
            raise node.error(f"cannot be read, because {HALF_CHARACTER}: correct it.")
        return node.value

    def count(self, name: str) -> int:
        """A field that must be a whole number from 0, in digits or in quotes."""
        node = self.field(name)
        text = cell_text(node.value)
        if text is None or not re.fullmatch("[0-9]{1,18}", text):
            raise node.error("is not a whole number from 0: correct it.")
        return int(text)

    def items(self, name: str) -> list[Node]:
        """The members of a field that must be a list."""
        node = self.field(name)
        if not isinstance(node.value, list):
            raise node.error("is not a list: correct it.")
        return [Node(value, (*node.steps, i), self.where) for i, value in enumerate(node.value)]


def read_json(path: Path) -> Node:
    """A whole JSON file, plain or .gz; raises TrimformerError unless it is UTF-8 and JSON."""
    text = read_text(path)
    if not text.strip():
        raise TrimformerError(f"The file {path} is empty: name another file.")
    try:
        value = load_json(text)
    except (ValueError, RecursionError) as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise TrimformerError(
            f"The file {path} is not valid JSON{line} ({error}): correct it, or call a file with one object per line "
            ".jsonl."
        ) from error
    return Node(value, (), lambda steps: f"line {_line(text, steps)} of {path}")


def row_node(table: Table, row: int, value: dict[str, object]) -> Node:
    """A row of a table as an object with its cells."""
    return Node(value, (), lambda _: table.where(row))


def _line(text: str, steps: Steps) -> int:
    """The line on which the value at the end of these steps begins, found by reading over what stands before it."""
    decode = json.JSONDecoder().raw_decode
    at = _after_space(text, 0)
    for step in steps:
        at = _after_space(text, at + 1)  # past the bracket
        found, index = at, 0
        while text[at] not in "]}":
            name: object = index
            if isinstance(step, str):
                name, at = decode(text, at)
                at = _after_space(text, _after_space(text, at) + 1)  # past the colon
            if name == step:
                found = at
            _, at = decode(text, at)
            at = _after_space(text, at)
            if text[at] == ",":
                at = _after_space(text, at + 1)
            index += 1
        at = found
    return text.count("\n", 0, at) + 1


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
