"""Law: no kind of attention is known outside the parts: nothing else lists kinds or asks which one a layer is."""

import ast
from pathlib import Path

import pytest

import trimformer
from trimformer.encoder.shape.kinds import ATTENTION

SOURCES = Path(trimformer.__file__).parent
FILES = [path for path in sorted(SOURCES.rglob("*.py")) if "encoder/parts" not in path.as_posix()]


def kinds_in(nodes):
    """The kinds of attention among literal strings."""
    return {node.value for node in nodes if isinstance(node, ast.Constant) and node.value in ATTENTION}


def lists(tree):
    """Literals that name two kinds or more: lists, sets, keys, Literal[…]."""
    for node in ast.walk(tree):
        nodes = node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else []
        nodes = node.keys if isinstance(node, ast.Dict) else nodes
        if len(kinds_in(nodes)) > 1:
            yield node.lineno


def questions(tree):
    """Comparisons of an attribute ``attention`` with a kind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = any(isinstance(side, ast.Attribute) and side.attr == "attention" for side in sides)
            if asked and kinds_in(sides):
                yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_a_file_outside_the_parts_knows_no_list_of_kinds(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [*lists(tree), *questions(tree)] == []


def test_the_check_finds_what_it_is_for():
    wrong = ["x = ('full', 'mean')", "y = {'mean': 1, 'conv': 2}", "Literal['conv', 'none']"]
    assert all(list(lists(ast.parse(text))) for text in wrong)
    assert list(questions(ast.parse("shape.attention != 'full'")))
    assert not list(questions(ast.parse("shape.attention != other.attention")))
