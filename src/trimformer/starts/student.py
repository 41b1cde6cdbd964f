"""Start from a student: chosen layers of the dense model, a shape, or another checkpoint.

A part of the teacher's layers is how DistilBERT starts (Sanh, Debut, Chaumond and Wolf, 2019).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, field_validator, model_validator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder.checkpoints.load import Checkpoint, build, load_tokenizer, read_checkpoint
from ..encoder.checkpoints.shapes import sizes_named
from ..encoder.gating.trim import trim, trimmed_config
from ..encoder.model.heads import TrimformerWithHead, head_class
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.embedding import EmbeddingShape
from ..encoder.shape.gates import Gates
from ..encoder.shape.points import POINTS
from ..errors import TrimformerError
from ..methods.expected import shape_after
from ..tasks.encoding.cache import fingerprint
from .base import Start, StartSettings, register
from .cut import gates_to, head_size_of, spread

DISTIL = "distil"
"""Every second layer of the dense model, the first one among them."""


class Shape(BaseModel):
    """Sizes of an encoder; everything else is as in the dense model."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt = Field(description="of each layer; they divide hidden")
    ffn: PositiveInt = Field(description="units of the feed-forward block of each layer")


class StudentSettings(StartSettings):
    """Where the student comes from: one of three."""

    name: Literal["student"] = "student"
    layers: Literal["distil"] | Annotated[list[NonNegativeInt], Field(min_length=1)] | None = Field(
        None, description="layers of the dense model, from 0, that the student starts with; distil: every second one"
    )
    shape: Shape | None = Field(None, description="sizes of an encoder, by name such as tinybert4 or by numbers")
    weights: Literal["random", "teacher"] = Field(
        "random", description="with shape: teacher: the dense model's, cut to these sizes"
    )
    checkpoint: str | None = Field(None, description="folder or hub id of another encoder, read with its own tokenizer")
    cut: Literal["previous"] | None = Field(
        None, description="with checkpoint: previous: it loses what the stage before has found that can go"
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _layers(cls, layers: Any) -> Any:
        if isinstance(layers, str) and layers != DISTIL:
            raise ValueError(f"{layers!r} names no layers: write {DISTIL} or a list of numbers")
        return layers

    @field_validator("shape", mode="before")
    @classmethod
    def _named(cls, shape: Any) -> Any:
        if not isinstance(shape, str):
            return shape
        try:
            return dict(zip(Shape.model_fields, sizes_named(shape), strict=True))
        except TrimformerError as error:
            raise ValueError(str(error).rstrip(".")) from error

    @model_validator(mode="after")
    def _one(self) -> StudentSettings:
        if [self.layers, self.shape, self.checkpoint].count(None) != 2:
            raise ValueError("name one of layers, shape and checkpoint")
        if self.weights == "teacher" and self.shape is None:
            raise ValueError("weights belong to a shape: leave them out, or name a shape")
        if self.cut is not None and self.checkpoint is None:
            raise ValueError("cut belongs to a checkpoint: leave it out, or name a checkpoint")
        return self

    @property
    def label(self) -> str:
        if self.layers is not None:
            named = "every second layer" if self.layers == DISTIL else f"layers {', '.join(map(str, self.layers))}"
            return f"student of {named}"
        if self.shape is not None:
            which = "fresh" if self.weights == "random" else "the teacher's"
            return f"student of {self.shape.layers} {which} layers, {self.shape.hidden} wide"
        return f"student from {self.checkpoint}" + (", cut as the search found" if self.cut else "")

    @property
    def student(self) -> str:
        return self.label if self.layers is None and self.weights == "random" else ""


@register
class Student(Start):
    """An encoder smaller than its teacher from the first step on, with a head for the task."""

    name = "student"
    Settings = StudentSettings

    @property
    def config(self) -> TrimformerConfig:
        dense = self.origins.dense.config
        if self.settings.layers is not None:
            return shape_after(dense, self._gates())
        if self.settings.weights == "teacher":
            return shape_after(dense, gates_to(self.settings.shape, dense))
        if self.settings.checkpoint is None:
            return self._fresh()
        given = self._checkpoint.config
        return given if self.settings.cut is None else trimmed_config(given, self._found())

    @cached_property
    def own_tokenizer(self) -> bool:
        """Another checkpoint may well have the same one."""
        if self.settings.checkpoint is None:
            return False
        return fingerprint(load_tokenizer(self.settings.checkpoint)) != fingerprint(self.origins.tokenizer)

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        return load_tokenizer(self.settings.checkpoint) if self.own_tokenizer else None

    @property
    def new_head(self) -> bool:
        return self.settings.layers is None and self.settings.weights == "random"

    def model(self) -> TrimformerWithHead:
        task = self.origins.task
        if self.settings.layers is not None:
            return trim(self.origins.dense.model(), self._gates())
        if self.settings.weights == "teacher":
            dense = self.origins.dense.model()
            return trim(dense, gates_to(self.settings.shape, dense.config, dense))
        if self.settings.checkpoint is None:
            return head_class(task.kind)(self._fresh()).eval()
        made: Any = build(self._checkpoint, labels=task.labels, kind=task.kind)
        return trim(made, self._found()) if self.settings.cut else made

    def weights(self) -> Mapping[str, Tensor]:
        return {} if self.settings.checkpoint is None else self._checkpoint.weights

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return read_checkpoint(self.settings.checkpoint)

    def _found(self) -> Gates:
        """By which gates the checkpoint is cut; before they are found, such of the same sizes."""
        if (found := self.origins.previous.found) is None:
            raise TrimformerError(
                "start.cut: the stage before does not hand on what can go: let it search with a method that does, such "
                "as nas-masks, or leave cut out."
            )
        for point, gates in found.given.items():
            if [tuple(own.shape) for own in gates] != POINTS[point].sizes(self._checkpoint.config):
                raise TrimformerError(
                    f"start.cut: the layers of {self.settings.checkpoint} differ in number or {point} from those that "
                    "the stage before searches, so that its gates do not fit: name a checkpoint of the same shape."
                )
        return found

    def _gates(self) -> Gates:
        count = self.origins.dense.config.num_hidden_layers
        layers = spread(-(-count // 2), count) if self.settings.layers == DISTIL else self.settings.layers
        if layers != sorted(set(layers)) or layers[-1] >= count:
            raise TrimformerError(
                f"start.layers {layers} must be different layers in their order, from 0 to {count - 1} of the dense "
                "model."
            )
        return Gates(layers=torch.tensor([float(index in layers) for index in range(count)]))

    def _fresh(self) -> TrimformerConfig:
        dense, sizes = self.origins.dense.config, self.settings.shape
        head_size = head_size_of(sizes)
        fresh = {"attention": "full", "kernel": 0, "query_key": None, "own": {}, "maps": {}, "ffn": sizes.ffn}
        heads = {"heads": sizes.heads, "head_size": head_size}
        shapes = [
            dataclasses.replace(dense.shapes[index % len(dense.shapes)], **fresh, **heads)
            for index in range(sizes.layers)
        ]
        layers = [dataclasses.asdict(shape) for shape in shapes]
        changes = {"hidden_size": sizes.hidden, "classifier_size": None, "sharing": None, "layers": layers}
        changes["embedding"] = EmbeddingShape.of_student(dense, sizes.hidden)
        return TrimformerConfig.from_dict(dense.to_dict() | changes)
