"""Start from a BiLSTM on word vectors (Tang, Lu, Liu, Mou, Vechtomova and Lin, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt

from ..encoder.shape.config import LayerShape
from .base import register
from .vectors import OnVectors, VectorSettings


class BiLstmSettings(VectorSettings):
    """Sizes of the BiLSTM, and its word vectors."""

    name: Literal["bilstm"] = "bilstm"
    units: PositiveInt = Field(150, description="of each direction; the states are twice as wide")
    layers: PositiveInt = Field(1, description="BiLSTMs on one another")
    classifier: PositiveInt = Field(200, description="units with ReLU between the mean of the states and the answer")

    @property
    def label(self) -> str:
        return f"BiLSTM of {self.units} units"


@register
class BiLstm(OnVectors):
    """One BiLSTM, the mean of its states, a layer with ReLU: the student that has no attention at all."""

    name = "bilstm"
    Settings = BiLstmSettings
    layer_kind = "bilstm"

    @property
    def width(self) -> int:
        return int(2 * self.settings.units)

    @property
    def layers(self) -> list[LayerShape]:
        return [LayerShape("none", 1, 1, 0)] * self.settings.layers

    @property
    def head(self) -> Mapping[str, Any]:
        return {"classifier_size": self.settings.classifier, "classifier_act": "relu"}
