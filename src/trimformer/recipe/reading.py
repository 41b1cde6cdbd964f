"""Reads recipes strictly: the first mistake becomes one sentence that names the key, the line and the nearest key."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import TrimformerError
from ..methods import METHODS, MethodSettings
from ..registry import Registry
from ..starts import STARTS
from ..tasks.augmentation import AUGMENTATIONS
from ..tasks.settings import TaskSettings
from .settings import Recipe

M = TypeVar("M", bound=BaseModel)
REGISTRIES: dict[Any, Registry[Any]] = {"method": METHODS, "start": STARTS, "augment": AUGMENTATIONS}
"""Where the settings come from that a name under a key chooses."""

LARGEST = 100_000
"""Nodes of a recipe; one of real use has some hundred."""


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file; raises TrimformerError naming the key, the line and the nearest known key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrimformerError(f"The recipe {path} cannot be read: {error}.") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if _size(root, {}) > LARGEST:
            raise TrimformerError(f"The recipe {path} has anchors that repeat too much: write out what they stand for.")
        content = yaml.safe_load(text)
    except RecursionError as error:
        raise TrimformerError(
            f"The recipe {path} is nested too deeply: write it as mappings in docs/recipes.md."
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date or a number that does not exist
        raise TrimformerError(f"The recipe {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise TrimformerError(f"The recipe {path} must be a YAML mapping with model, task, out and stages.")
    return parse(content, str(path), root)


def _size(node: yaml.Node | None, known: dict[int, float]) -> float:
    """Nodes of a document with its anchors written out, counted without writing them out; without end in a circle."""
    if id(node) not in known:
        known[id(node)] = float("inf")  # until it is counted: an anchor within itself
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        nodes = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(_size(child, known) for child in nodes)
    return known[id(node)]


def parse(content: dict[str, Any], source: str, root: yaml.Node | None = None) -> Recipe:
    """Validate a recipe strictly; the first mistake becomes one sentence."""
    return _validated(Recipe, content, source, root)


def checked_task(settings: TaskSettings | dict[str, Any]) -> TaskSettings:
    """The settings of a task, validated; raises TrimformerError naming the key."""
    return settings if isinstance(settings, TaskSettings) else _validated(TaskSettings, settings, "the task")


def checked_method(settings: dict[str, Any]) -> MethodSettings:
    """The settings of the method that ``name`` says, validated; raises TrimformerError naming the key."""
    if "name" not in settings:
        raise TrimformerError(f"The key 'name' is missing in the method: known are {', '.join(METHODS)}.")
    name = settings["name"]
    return _validated(METHODS.find(name).Settings, settings, f"the method {name}")


def _validated(model: type[M], content: Any, source: str, root: yaml.Node | None = None) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise TrimformerError(_explain(error, model, source, root)) from error


def _explain(error: ValidationError, model: type[BaseModel], source: str, root: yaml.Node | None) -> str:
    # A misspelt key counts as missing too; the word that was written helps more.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    path = _written(first["loc"])
    line = _line(root, path)
    where = f"{source}, line {line}" if line else source
    key = ".".join(str(part) for part in path)
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, list(first["loc"][:-1]))
        near = difflib.get_close_matches(str(path[-1]), known, 1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."
        return f"Unknown key {key!r} in {where}: {hint}"
    if first["type"] == "missing":
        return f"The key {key!r} is missing in {where}."
    if first["type"] == "union_tag_not_found":
        return f"The key '{key}.name' is missing in {where}."
    if first["type"] == "union_tag_invalid":
        return REGISTRIES[path[-1]].unknown(first["ctx"]["tag"]).replace(":", f" in {where}:", 1)
    if first["type"] == "value_error":  # of a validator of ours
        return f"{key} in {where}: {first['ctx']['error']}."
    return f"{key} in {where}: {first['msg'][:1].lower()}{first['msg'][1:]} (got {reprlib.repr(first['input'])})."


def _known_keys(model: type[BaseModel], path: list[Any]) -> list[str]:
    """The keys that are allowed at a place in the recipe."""
    for before, part in pairwise((None, *path)):
        if before in REGISTRIES:
            model = REGISTRIES[before][part].Settings
        elif not isinstance(part, int) and part not in REGISTRIES:
            model = next(iter(_models_in(model.model_fields[part].annotation)), model)
    return list(model.model_fields)


def _written(path: Sequence[Any]) -> list[Any]:
    """The keys as they stand in the recipe: without the names by which settings were chosen."""
    return [part for before, part in pairwise((None, *path)) if before not in REGISTRIES]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _line(node: yaml.Node | None, path: list[Any]) -> int | None:
    """Line of a key in the file, as far as the path can be followed."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
