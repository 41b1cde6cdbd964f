"""Start from stacked convolutions on word vectors, of the operations that AdaBERT's search has (Chen et al., 2020)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from ..encoder.parts.layers.cnn import OPERATIONS, cnn_shape
from ..encoder.shape.config import LayerShape
from .base import register
from .vectors import OnVectors, VectorSettings


class CnnSettings(VectorSettings):
    """Width and operations of the CNN, and its word vectors."""

    name: Literal["cnn"] = "cnn"
    hidden: PositiveInt = Field(256, description="channels")
    operations: list[str] = Field(
        ["conv3", "conv5", "conv7"],
        min_length=1,
        description="of the layers: conv3, conv5, conv7, dilated3, dilated5, dilated7, avg-pool, max-pool or skip",
    )

    @field_validator("operations")
    @classmethod
    def _known(cls, operations: list[str]) -> list[str]:
        for operation in operations:
            if operation not in OPERATIONS:
                raise ValueError(f"unknown operation {operation!r}, use some of {', '.join(OPERATIONS)}")
        return operations

    @property
    def label(self) -> str:
        return f"CNN of {', '.join(self.operations)}, {self.hidden} wide"


@register
class Cnn(OnVectors):
    """A stack of operations over neighbouring tokens, and the mean of what comes out."""

    name = "cnn"
    Settings = CnnSettings
    layer_kind = "cnn"

    @property
    def width(self) -> int:
        return int(self.settings.hidden)

    @property
    def layers(self) -> list[LayerShape]:
        return [cnn_shape(operation) for operation in self.settings.operations]
