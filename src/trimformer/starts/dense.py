"""Start from the dense model, fine-tuned on the task."""

from __future__ import annotations

from typing import Literal

from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from .base import Start, StartSettings, register


class DenseSettings(StartSettings):
    """The dense model has no settings here."""

    name: Literal["dense"] = "dense"


@register
class Dense(Start):
    """The dense model, which is also the teacher."""

    name = "dense"
    Settings = DenseSettings

    @property
    def config(self) -> TrimformerConfig:
        return self.origins.dense.config

    def model(self) -> TrimformerWithHead:
        return self.origins.dense.model()
