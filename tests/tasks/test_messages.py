"""Every message of an error is made of whole sentences."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import trimformer.tasks

ROOM = Path(trimformer.tasks.__file__).parent


def messages(path: Path) -> Iterator[ast.expr]:
    """The arguments of `TrimformerError(...)`, and of `error(...)` of a node, whose message follows a place."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TrimformerError":
            yield node.args[0]


def test_messages_are_found() -> None:
    assert sum(1 for path in ROOM.rglob("*.py") for _ in messages(path)) > 50


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_messages_begin_with_a_capital_and_end_with_a_full_stop(path: Path) -> None:
    for message in messages(path):
        parts = message.values if isinstance(message, ast.JoinedStr) else [message]
        first, last = parts[0], parts[-1]
        if isinstance(last, ast.FormattedValue) and "did_you_mean" in ast.unparse(last):
            last = parts[-2]  # a question of its own
        if isinstance(first, ast.Constant):
            assert str(first.value)[0].isupper(), ast.unparse(message)
        if isinstance(last, ast.Constant):
            assert str(last.value).endswith("."), ast.unparse(message)
