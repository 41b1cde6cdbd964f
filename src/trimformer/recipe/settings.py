"""Recipes: everything a run needs, as strict settings in YAML."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..byte_size import Bytes
from ..duration import Seconds
from ..files import save_text
from ..measure.bench.variants import BACKENDS
from ..methods import METHODS, MethodSettings
from ..starts import STARTS, StartSettings
from ..tasks.augmentation import AUGMENTATIONS, AugmentationSettings
from ..tasks.settings import TaskSettings
from ..training.settings import ObjectiveSettings, Precision, TrainingSettings


def _named(value: Any) -> Any:
    """What needs no settings of its own may be given by its name."""
    return {"name": value} if isinstance(value, str) else value


if TYPE_CHECKING:
    AnyMethod = MethodSettings
    AnyStart = StartSettings
    AnyAugmentation = AugmentationSettings
else:
    AnyMethod = Annotated[reduce(or_, (method.Settings for method in METHODS.values())), Field(discriminator="name")]
    AnyStart = Annotated[
        reduce(or_, (start.Settings for start in STARTS.values())),
        Field(discriminator="name"),
        BeforeValidator(_named),
    ]
    AnyAugmentation = Annotated[
        reduce(or_, (augmentation.Settings for augmentation in AUGMENTATIONS.values())),
        Field(discriminator="name"),
        BeforeValidator(_named),
    ]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StageSettings(_Strict):
    """One stage: a method under an objective on a schedule, from given weights."""

    name: str = Field(pattern=r"^[\w-]+$", description="names the stage in folders, logs and reports")
    method: AnyMethod = Field(description="its name and its own settings")
    start: AnyStart = Field(
        "previous",
        validate_default=True,
        description="weights: the stage before, the dense fine-tuned model, the checkpoint itself, or a start by name "
        "with its own settings",
    )
    teacher: Literal["dense", "previous"] = Field(
        "dense", description="what the objective distils from: the dense model, or what the stage before leaves"
    )
    augment: AnyAugmentation | None = Field(
        None,
        description="new training rows, which the teacher labels: an augmentation by name or with its own settings",
    )
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings, validate_default=True)
    training: TrainingSettings = Field(default_factory=TrainingSettings)

    @field_validator("objective")
    @classmethod
    def _compared(cls, objective: ObjectiveSettings, info: ValidationInfo) -> ObjectiveSettings:
        if getattr(info.data.get("method"), "freeze_unchanged", False) and not objective.needs_teacher:
            raise ValueError(
                "freeze_unchanged compares with the dense model, which this objective does not distil from: give it a "
                "term that does, such as logits, or leave freeze_unchanged out"
            )
        return objective


class MeasureSettings(_Strict):
    """What is timed at the end."""

    batch: list[PositiveInt] = Field([1, 8], min_length=1)
    length: list[PositiveInt] | None = Field(
        None, min_length=1, description="tokens; none: the mean and the longest of the validation texts"
    )
    threads: int | None = Field(None, ge=1, description="none: all cores")
    backends: list[str] = Field(["eager", "sdpa", "torch", "onnx", "onnx-int8"], min_length=1)
    resamples: int = Field(2000, ge=100, le=1_000_000, description="of the paired bootstrap")

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


NOT_TIMED = "with max_size the smallest model is looked for and nothing is timed"


class AutopilotSettings(_Strict):
    """The search for the fastest or the smallest model that loses little enough, in place of stages."""

    max_drop: float = Field(ge=0, description="points (hundredths) of the official metric that may be lost")
    max_size: Bytes | None = Field(
        None,
        gt=0,
        lt=10**18,
        description="look for the smallest model in place of the fastest, and say whether its folder takes no more: in "
        "bytes, or as 10MB",
    )
    min_speedup: float | None = Field(
        None,
        gt=1,
        description="half of the models tried should be at least this many times as fast as the stock dense one",
    )
    sure: bool = Field(
        False, description="the upper end of the drop's interval on the confirmation rows has to be inside, too"
    )
    confirmation: float = Field(
        0.5, gt=0, lt=1, description="share of the rows held out from train that choose nothing and only confirm"
    )
    post_training: bool = Field(
        False, description="train nothing: what is left of a fine-tuned model is fitted to it in closed form"
    )
    time_budget: Seconds | None = Field(
        None,
        gt=0,
        description="limit for the whole run, in seconds or as 2h; none: as long as the epochs take, "
        "with post_training 3 minutes",
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

    @field_validator("min_speedup")
    @classmethod
    def _times(cls, speedup: float | None, info: ValidationInfo) -> float | None:
        if speedup is not None and info.data.get("max_size") is not None:
            raise ValueError(f"{NOT_TIMED}, leave one of them out")
        return speedup

    @field_validator("ray", "storage")
    @classmethod
    def _helps(cls, place: str | None, info: ValidationInfo) -> str | None:
        if place is not None and info.data.get("post_training"):
            raise ValueError("with post_training nothing is trained that anybody could help with, leave it out")
        return place

    @field_validator("storage")
    @classmethod
    def _database(cls, storage: str | None, info: ValidationInfo) -> str | None:
        if storage is None:
            return "sqlite" if info.data.get("ray") is not None else None
        if storage != "sqlite" and "://" not in storage:
            raise ValueError(f"{storage!r} is neither sqlite nor the URL of a database, such as postgresql://host/name")
        return storage


FineTune = Literal["auto", "always", "never"]

RESERVED = ("load", "dense", "measure", "export")
"""Names of the pipeline's own steps."""


class Recipe(_Strict):
    """A whole run of ``compress``."""

    version: Literal[1] = 1
    model: str = Field(description="folder or hub id of an encoder, or 'demo'")
    task: TaskSettings
    out: str = Field(description="folder for the results; must not exist or be empty")
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Precision = Field("auto", description="auto: bf16 where the processor computes it natively")
    dense: TrainingSettings = Field(
        default_factory=TrainingSettings,
        description="fine-tuning of the dense model, where the checkpoint has no head for these labels",
    )
    fine_tune: FineTune = Field(
        "auto",
        description="of the dense model: always, with a new head; never, the checkpoint's head is used as it is; auto: "
        "where the checkpoint has no head for these labels, or one near chance or far from the labels' scale",
    )
    baseline: str | None = Field(
        None, description="a dense model fine-tuned on this task before: baseline and teacher instead of a new one"
    )
    autopilot: AutopilotSettings | None = Field(None, description="a search within a budget instead of stages")
    stages: list[StageSettings] = Field([], validate_default=True)
    control: Literal["dense"] | None = Field(
        None, description="dense: the dense model is trained on for as long as the trimmed one, and compared with it"
    )
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

    @field_validator("control")
    @classmethod
    def _of_stages(cls, control: str | None, info: ValidationInfo) -> str | None:
        if control is not None and info.data.get("autopilot") is not None:
            raise ValueError("an autopilot trains no control, leave it out or give stages")
        return control

    @field_validator("stages")
    @classmethod
    def _names_differ(cls, stages: list[StageSettings]) -> list[StageSettings]:
        names = [stage.name for stage in stages]
        taken = [name for name in names if name in RESERVED or names.count(name) > 1]
        if taken:
            raise ValueError(f"the stage name {taken[0]!r} is taken twice or reserved")
        return stages

    @field_validator("measure")
    @classmethod
    def _timed(cls, measure: MeasureSettings, info: ValidationInfo) -> MeasureSettings:
        search = info.data.get("autopilot")
        if search is not None and search.max_size is not None and (measure.batch[0] != 1 or measure.length is not None):
            raise ValueError(f"{NOT_TIMED}, leave batch and length out")
        return measure

    def save(self, path: Path) -> None:
        """Write the resolved recipe as YAML."""
        save_text(path, self.to_yaml())

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


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
