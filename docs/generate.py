"""Write what the docs take from the code, api.md and the blocks of parts in concepts.md: ``python docs/generate.py``.

A block stands between ``<!-- parts:NAME -->`` and ``<!-- end -->``. A test fails where a page is out of date.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from transformers import PreTrainedConfig

import trimformer
from trimformer.encoder.shape.kinds import ATTENTION, LAYERS, LINEAR, PATTERNS, POSITIONS, left_of
from trimformer.saved.config import Facts

DOCS = Path(__file__).parent
WIDTH = 110
HEAD = """# API

The public names of the package `trimformer`, made from their docstrings by `make docs`. The tables of settings are in
[recipes](recipes.md), the vocabulary is in [concepts](concepts.md).
"""


def api() -> str:
    """The page of the public names."""
    return "\n".join([HEAD, *(_entry(name, getattr(trimformer, name)) for name in trimformer.__all__)])


def _entry(name: str, entry: Any) -> str:
    parts = [f"## {name}\n"]
    if (signature := _signature(name, entry)) is not None:
        parts.append(f"```text\n{signature}\n```\n")
    parts.append(prose(inspect.getdoc(entry) or ""))
    methods = list(_methods(entry)) if inspect.isclass(entry) else []
    for method, found in methods:
        summary = prose(inspect.getdoc(found) or "").partition("\n\n")[0]
        parts.append(f"- `{method}`: {' '.join(summary.split())}")
    return "\n".join([*parts, ""] if methods else parts)


def _signature(name: str, entry: Any) -> str | None:
    """How it is called, one parameter a line where all do not fit into one."""
    if inspect.isclass(entry) and issubclass(entry, BaseException):
        return None
    if inspect.isclass(entry) and issubclass(entry, BaseModel):
        given = [_field(field, info) for field, info in entry.model_fields.items()]
        return _call(name, ["*", *given], "")
    if inspect.isclass(entry) and issubclass(entry, PreTrainedConfig):
        own = [field for field in dataclasses.fields(entry) if field.name in entry.__annotations__]
        given = [f"{field.name}: {field.type} = {field.default!r}" for field in own]
        return _call(name, ["*", *(one for one in given if not one.startswith("model_type"))], "")
    signature = inspect.signature(entry)
    returned = "" if inspect.isclass(entry) else f" -> {_shown(signature.return_annotation)}"
    given = [_parameter(one) for one in signature.parameters.values()]
    keyword = [one.kind is inspect.Parameter.KEYWORD_ONLY for one in signature.parameters.values()]
    if True in keyword:
        given.insert(keyword.index(True), "*")
    return _call(name, given, returned)


def _call(name: str, given: list[str], returned: str) -> str:
    line = f"{name}({', '.join(given)}){returned}"
    return line if len(line) <= WIDTH else "\n".join([f"{name}(", *(f"    {one}," for one in given), f"){returned}"])


def _field(name: str, info: Any) -> str:
    if info.default_factory is not None:
        return f"{name} = …"
    return name if info.default is PydanticUndefined else f"{name} = {info.default!r}"


def _parameter(one: inspect.Parameter) -> str:
    star = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(one.kind, "")
    shown = f"{star}{one.name}: {_shown(one.annotation)}"
    if one.default is inspect.Parameter.empty:
        return shown
    default = "…" if repr(one.default).startswith("<") else repr(one.default)
    return f"{shown} = {default}"


def _shown(annotation: Any) -> str:
    """An annotation without the modules of its names."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)


def _methods(entry: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class of ours has of its own, or as `Facts`, and says something of."""
    inherited = vars(Facts) if issubclass(entry, Facts) else {}
    for name, found in (dict(vars(entry)) | dict(inherited)).items():
        function = getattr(found, "__func__", getattr(found, "fget", found))
        ours = str(getattr(function, "__module__", "")).startswith("trimformer") and inspect.isfunction(function)
        if ours and not name.startswith("_") and name != "forward" and found.__doc__:
            yield name, found


def prose(text: str) -> str:
    """A docstring as Markdown: names as code, and a list where its lines hang."""
    text = re.sub(r":\w+:`~?([^`]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    paragraphs = text.replace("``", "`").split("\n\n")
    return "\n\n".join(map(_hanging, paragraphs)) + "\n"


NAMES = re.compile(r"^(\w+(?:, \w+)*): ")
"""What a line about parameters begins with."""


def _hanging(paragraph: str) -> str:
    lines = paragraph.splitlines()
    if not any(line.startswith("    ") for line in lines) and not all(map(NAMES.match, lines)):
        return paragraph
    return "\n".join(f"  {line.strip()}" if line.startswith("    ") else f"- {_named(line)}" for line in lines)


def _named(line: str) -> str:
    return NAMES.sub(lambda found: f"`{found[1].replace(', ', '`, `')}`: ", line)


def attention_kinds() -> str:
    """What each kind of attention is, and what a layer of it can become."""
    kinds = own(ATTENTION)
    rows = []
    for name, kind in kinds.items():
        others = [other for other in kinds if other != name]
        can = [f"`{other}`" for other in others if left_of(name, other) == other or name in kinds[other].grown_from]
        stands_in = "yes" if kind.stands_in else "no"
        rows.append(f"| `{name}` | {kind.about} | {', '.join(can) or 'nothing'} | {stands_in} |")
    return "\n".join(["| kind | the attention is | it can become | it can stand in |", "|---|---|---|---|", *rows])


def other_kinds() -> str:
    """The kinds of linear map, of layer, of pattern and of positions."""
    rows = [f"| linear map | `{name}` | {kind.about} |" for name, kind in own(LINEAR).items()]
    rows += [f"| layer | `{name}` | {kind.about} |" for name, kind in own(LAYERS).items()]
    rows += [f"| pattern | `{name}` | {kind.about} |" for name, kind in own(PATTERNS).items()]
    rows += [f"| positions | `{name}` | {_first_line(kind)} |" for name, kind in own(POSITIONS).items()]
    return "\n".join(["| part | kind | what it is |", "|---|---|---|", *rows])


def _first_line(entry: Any) -> str:
    return (inspect.getdoc(entry) or "").partition("\n")[0].partition(": the outline")[0].rstrip(".")


def own(registry: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are built in, by name."""
    return {name: registry[name] for name in sorted(registry) if registry[name].__module__.startswith("trimformer.")}


BLOCKS: dict[str, Callable[[], str]] = {"attention": attention_kinds, "others": other_kinds}


def pages() -> dict[Path, str]:
    """What each generated page is to hold."""
    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    for name, made in BLOCKS.items():
        block = f"<!-- parts:{name} -->\n{made()}\n<!-- end -->"
        text = re.sub(rf"<!-- parts:{name} -->.*?<!-- end -->", lambda _, b=block: b, text, flags=re.DOTALL)
    return {DOCS / "api.md": api(), DOCS / "concepts.md": text}


if __name__ == "__main__":
    for page, content in pages().items():
        page.write_text(content, encoding="utf-8")
