"""Start from a student: chosen layers of the dense model, a fresh shape, or another checkpoint.

A part of the teacher's layers is how DistilBERT starts (Sanh, Debut, Chaumond and Wolf, 2019).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder.checkpoints.load import Checkpoint, build, load_tokenizer, read_checkpoint
from ..encoder.gating.trim import trim
from ..encoder.model.heads import TrimformerWithHead, head_class
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.embedding import EmbeddingShape
from ..encoder.shape.gates import Gates
from ..errors import TrimformerError
from ..methods.expected import shape_after
from ..tasks.encoding.cache import fingerprint
from .base import Start, StartSettings, register


class FreshShape(BaseModel):
    """FreshShape of a fresh encoder; everything else is as in the dense model."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt = Field(description="of each layer; they divide hidden")
    ffn: PositiveInt = Field(description="units of the feed-forward block of each layer")


class StudentSettings(StartSettings):
    """Where the student comes from: one of three."""

    name: Literal["student"] = "student"
    layers: list[NonNegativeInt] | None = Field(
        None, min_length=1, description="layers of the dense model, from 0, that the student starts with"
    )
    shape: FreshShape | None = Field(None, description="sizes of an encoder with random weights")
    checkpoint: str | None = Field(None, description="folder or hub id of another encoder, read with its own tokenizer")

    @model_validator(mode="after")
    def _one(self) -> StudentSettings:
        if [self.layers, self.shape, self.checkpoint].count(None) != 2:
            raise ValueError("name one of layers, shape and checkpoint")
        return self

    @property
    def label(self) -> str:
        if self.layers is not None:
            return f"student of layers {', '.join(map(str, self.layers))}"
        if self.shape is not None:
            return f"student of {self.shape.layers} fresh layers, {self.shape.hidden} wide"
        return f"student from {self.checkpoint}"


@register
class Student(Start):
    """An encoder smaller than its teacher from the first step on, with a head for the task."""

    name = "student"
    Settings = StudentSettings

    @property
    def config(self) -> TrimformerConfig:
        if self.settings.layers is not None:
            return shape_after(self.origins.dense.config, self._gates())
        return self._fresh() if self.settings.checkpoint is None else self._checkpoint.config

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
        return self.settings.layers is None

    def model(self) -> TrimformerWithHead:
        task = self.origins.task
        if self.settings.layers is not None:
            return trim(self.origins.dense.model(), self._gates())
        if self.settings.checkpoint is None:
            return head_class(task.kind)(self._fresh()).eval()
        made: Any = build(self._checkpoint, labels=task.labels, kind=task.kind)
        return made

    def weights(self) -> Mapping[str, Tensor]:
        return {} if self.settings.checkpoint is None else self._checkpoint.weights

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return read_checkpoint(self.settings.checkpoint)

    def _gates(self) -> Gates:
        layers, count = self.settings.layers, self.origins.dense.config.num_hidden_layers
        if layers != sorted(set(layers)) or layers[-1] >= count:
            raise TrimformerError(
                f"start.layers {layers} must be different layers in their order, from 0 to {count - 1} of the dense "
                "model."
            )
        return Gates(layers=torch.tensor([float(index in layers) for index in range(count)]))

    def _fresh(self) -> TrimformerConfig:
        dense, sizes = self.origins.dense.config, self.settings.shape
        if sizes.hidden % sizes.heads:
            raise TrimformerError(
                f"start.shape: {sizes.heads} heads do not divide a width of {sizes.hidden}: choose numbers that fit."
            )
        fresh = {"attention": "full", "kernel": 0, "query_key": None, "own": {}, "maps": {}, "ffn": sizes.ffn}
        heads = {"heads": sizes.heads, "head_size": sizes.hidden // sizes.heads}
        shapes = [
            dataclasses.replace(dense.shapes[index % len(dense.shapes)], **fresh, **heads)
            for index in range(sizes.layers)
        ]
        layers = [dataclasses.asdict(shape) for shape in shapes]
        changes = {"hidden_size": sizes.hidden, "classifier_size": None, "sharing": None, "layers": layers}
        if dense.embedding is not None:  # its vectors are as long as the teacher's, whatever its width
            changes["embedding"] = EmbeddingShape.read(dense.embedding).cut(dense.hidden_size, sizes.hidden).to_dict()
        return TrimformerConfig.from_dict(dense.to_dict() | changes)
