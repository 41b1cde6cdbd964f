"""The rooms of the package import one another in one direction, which CONTRIBUTING gives, and files in no circle."""

import ast
import graphlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "trimformer"


def imported(file: Path) -> list[Path]:
    """The files of the package that a file imports at its top, by relative imports."""
    found = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = file.parents[node.level - 1]
            place = folder.joinpath(*(node.module or "").split("."))
            for one in (place, *(place / alias.name for alias in node.names)):
                found += [path for path in (one.with_suffix(".py"), one / "__init__.py") if path.is_file()]
    return found


def test_rooms_import_one_way() -> None:
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    sentence = re.search(r"Imports run one way: command line → (.*?)\.", text)
    assert sentence
    floors = {name: floor for floor, names in enumerate(sentence[1].split(" → ")) for name in names.split(" and ")}
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert floors.keys() == rooms
    for file in PACKAGE.rglob("*.py"):
        here = file.relative_to(PACKAGE).parts
        for other in imported(file):
            there = other.relative_to(PACKAGE).parts
            if len(here) > 1 and len(there) > 1 and here[0] != there[0]:
                assert floors[here[0]] < floors[there[0]], f"{file} imports {other}"


def test_files_import_in_no_circle() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"]
    tuple(graphlib.TopologicalSorter({file: imported(file) for file in files}).static_order())
