"""Recipes: everything a run needs, as strict settings in YAML."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from .duration import Seconds
from .errors import TrimformerError
from .files import atomic_file
from .measure.variants import BACKENDS
from .methods import METHODS, MethodSettings
from .tasks.settings import TaskSettings
from .training.settings import ObjectiveSettings, Precision, TrainingSettings

if TYPE_CHECKING:
    AnyMethod = MethodSettings
else:
    AnyMethod = Annotated[reduce(or_, (method.Settings for method in METHODS.values())), Field(discriminator="name")]


M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StageSettings(_Strict):
    """One stage: a method under an objective on a schedule, from given weights."""

    name: str = Field(pattern=r"^[\w-]+$", description="names the stage in folders, logs and reports")
    method: AnyMethod = Field(description="its name and its own settings")
    start: Literal["previous", "dense", "pretrained"] = Field(
        "previous",
        description="weights: the stage before, the dense fine-tuned model, or the checkpoint itself",
    )
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)


class MeasureSettings(_Strict):
    """What is timed at the end."""

    batch: list[PositiveInt] = Field([1, 8], min_length=1)
    length: list[PositiveInt] | None = Field(
        None, min_length=1, description="tokens; none: the mean and the longest of the validation texts"
    )
    threads: int | None = Field(None, ge=1, description="none: all cores")
    backends: list[str] = Field(["sdpa", "torch", "onnx", "onnx-int8"], min_length=1)
    resamples: int = Field(2000, ge=100, description="of the paired bootstrap")

    @field_validator("backends")
    @classmethod
    def _known(cls, backends: list[str]) -> list[str]:
        for backend in backends:
            if backend not in BACKENDS:
                raise ValueError(f"unknown backend {backend!r}, use some of {', '.join(BACKENDS)}")
        return backends


class ExportSettings(_Strict):
    """What is written beside the model."""

    onnx: bool = True
    int8: bool = True


class AutopilotSettings(_Strict):
    """The search for the fastest model that loses little enough, in place of stages."""

    max_drop: float = Field(ge=0, description="points (hundredths) of the official metric that may be lost")
    min_speedup: float | None = Field(
        None, gt=1, description="half of the models tried are to be so many times as fast as the stock dense one"
    )
    time_budget: Seconds | None = Field(
        None, gt=0, description="of the whole run, in seconds or as 2h; none: as long as the epochs take"
    )
    ray: str | None = Field(None, description="a Ray cluster whose nodes help: host:port of its head, auto or local")
    storage: str | None = Field(
        None,
        validate_default=True,
        description="through which other processes help to train: sqlite (default with ray) or the URL of a database",
    )
    training: TrainingSettings = Field(
        default_factory=TrainingSettings,
        description="of each model that is tried; those that get to the end are trained for twice its epochs in all",
    )

    @field_validator("storage")
    @classmethod
    def _database(cls, storage: str | None, info: ValidationInfo) -> str | None:
        if storage is None:
            return "sqlite" if info.data.get("ray") is not None else None
        if storage != "sqlite" and "://" not in storage:
            raise ValueError(f"{storage!r} is neither sqlite nor the URL of a database, such as postgresql://host/name")
        return storage


RESERVED = ("load", "dense", "measure", "export")
"""Names of the pipeline's own steps."""


class Recipe(_Strict):
    """A whole run of ``compress``."""

    version: Literal[1] = 1
    model: str = Field(description="folder or hub id of an encoder, or 'demo'")
    task: TaskSettings
    out: str = Field(description="folder for the results; must not exist or be empty")
    seed: int = 0
    precision: Precision = Field("auto", description="auto: bf16 where the processor computes it natively")
    dense: TrainingSettings = Field(
        default_factory=TrainingSettings,
        description="fine-tuning of the dense model, where the checkpoint has no head for these labels",
    )
    baseline: str | None = Field(
        None, description="a dense model fine-tuned on this task before: baseline and teacher instead of a new one"
    )
    autopilot: AutopilotSettings | None = Field(None, description="a search within a budget instead of stages")
    stages: list[StageSettings] = Field([], validate_default=True)
    measure: MeasureSettings = Field(default_factory=MeasureSettings)
    export: ExportSettings = Field(default_factory=ExportSettings)

    @field_validator("stages")
    @classmethod
    def _either(cls, stages: list[StageSettings], info: ValidationInfo) -> list[StageSettings]:
        if "autopilot" not in info.data:  # it is wrong itself, which is said instead
            return stages
        if not stages and info.data["autopilot"] is None:
            raise PydanticCustomError("missing", "Field required")
        if stages and info.data["autopilot"] is not None:
            raise ValueError("an autopilot finds its own models, leave out one of the two")
        return stages

    @field_validator("stages")
    @classmethod
    def _names_differ(cls, stages: list[StageSettings]) -> list[StageSettings]:
        names = [stage.name for stage in stages]
        taken = [name for name in names if name in RESERVED or names.count(name) > 1]
        if taken:
            raise ValueError(f"the stage name {taken[0]!r} is taken twice or reserved")
        return stages

    def save(self, path: Path) -> None:
        """Write the resolved recipe as YAML."""
        with atomic_file(path) as file:
            file.write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


DISTILLED = ObjectiveSettings(logits=1.0, hidden=1.0)
SEARCH_OBJECTIVES = {
    "greedy": DISTILLED,
    "hard-concrete": ObjectiveSettings(logits=1.0),  # states would have to keep the width that its gates take
}
"""Of the methods that distil while they search, too."""


def standard_recipe(
    model: str,
    task: TaskSettings,
    out: str,
    *,
    method: dict[str, Any],
    training: TrainingSettings | None = None,
    seed: int = 0,
) -> Recipe:
    """What ``compress`` does by default for a method (``{"name": "attendout", "keep_layers": 3}``).

    A method starts from the dense fine-tuned model and ends with a fine-tuning that distils from it; ``greedy`` and
    ``hard-concrete`` distil while they search, too. Faithful AttendOut starts from the pre-trained weights and ends
    with plain fine-tuning, as published; ``none`` is that plain fine-tuning alone.
    """
    name = checked_method(method).name
    training = training or TrainingSettings()
    first = {
        "name": "finetune" if name == "none" else "search",
        "method": method,
        "start": "pretrained" if name == "attendout-faithful" else "dense",
        "objective": SEARCH_OBJECTIVES.get(name, ObjectiveSettings()),
        "training": training,
    }
    repair = {
        "name": "repair",
        "method": {"name": "none"},
        "objective": ObjectiveSettings() if name == "attendout-faithful" else DISTILLED,
        "training": training,
    }
    stages = [first] if name == "none" else [first, repair]
    return parse(
        {"model": model, "task": task, "out": out, "seed": seed, "dense": training, "stages": stages},
        "these settings",
    )


def autopilot_recipe(
    model: str,
    task: TaskSettings,
    out: str,
    *,
    budget: dict[str, Any],
    batch: int = 1,
    length: int | None = None,
    training: TrainingSettings | None = None,
    seed: int = 0,
) -> Recipe:
    """A search within a budget, ``{"max_drop": 0.5}`` and the like; ``batch`` and ``length`` are what is to be fast."""
    training = training or TrainingSettings()
    measured = {"batch": [batch], "length": None if length is None else [length]}
    return parse(
        {
            "model": model, "task": task, "out": out, "seed": seed, "dense": training,
            "autopilot": budget | {"training": training}, "measure": measured,
        },
        "these settings",
    )  # fmt: skip


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file; raises TrimformerError naming the key, the line and the nearest known key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrimformerError(f"The recipe {path} cannot be read: {error}.") from error
    try:
        content = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise TrimformerError(f"The recipe {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise TrimformerError(f"The recipe {path} must be a YAML mapping with model, task, out and stages.")
    return parse(content, str(path), root)


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
    if name not in METHODS:
        raise TrimformerError(unknown_method(name))
    return _validated(METHODS[name].Settings, settings, f"the method {name}")


def unknown_method(name: Any) -> str:
    """What to say about a name that is no method."""
    near = difflib.get_close_matches(str(name), METHODS, 1, cutoff=0.4)
    return f"Unknown method {name!r}: " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(METHODS)}.")


def _validated(model: type[M], content: Any, source: str, root: yaml.Node | None = None) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise TrimformerError(_explain(error, model, source, root)) from error


def _explain(error: ValidationError, model: type[BaseModel], source: str, root: yaml.Node | None) -> str:
    # A misspelt key counts as missing too; the word that was written helps more.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    path = [part for part in first["loc"] if part not in METHODS]
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
        return unknown_method(first["ctx"]["tag"]).replace(":", f" in {where}:", 1)
    if first["type"] == "value_error":  # of a validator of ours
        return f"{key} in {where}: {first['ctx']['error']}."
    return f"{key} in {where}: {first['msg'][:1].lower()}{first['msg'][1:]} (got {first['input']!r})."


def _known_keys(model: type[BaseModel], path: list[Any]) -> list[str]:
    """The keys that are allowed at a place in the recipe."""
    for part in path:
        if isinstance(part, int) or part == "method":
            continue
        if part in METHODS:
            model = METHODS[part].Settings
            continue
        model = next(iter(_models_in(model.model_fields[part].annotation)), model)
    return list(model.model_fields)


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


def differences(a: Recipe, b: Recipe) -> dict[str, Any]:
    """Keys in which two recipes differ, such as ``task.max_length``, with their values in the first."""
    left, right = (dict(_settings(recipe.model_dump(mode="json"))) for recipe in (a, b))
    return {key: left.get(key) for key in {**left, **right} if left.get(key, ...) != right.get(key, ...)}


def _settings(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The values of nested mappings and of lists of them, by their keys joined with dots."""
    if isinstance(content, list) and any(isinstance(part, dict) for part in content):
        content = {str(place): part for place, part in enumerate(content)}
    if not isinstance(content, dict):
        yield ".".join(path), content
        return
    for key, part in content.items():
        yield from _settings(part, (*path, key))
