"""Start from the checkpoint as it was given."""

from __future__ import annotations

from typing import Any, Literal

from ..encoder.checkpoints.load import build
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from .base import Start, StartSettings, register


class PretrainedSettings(StartSettings):
    """The checkpoint has no settings here."""

    name: Literal["pretrained"] = "pretrained"


@register
class Pretrained(Start):
    """The checkpoint, with a new head unless its own was trained for these labels."""

    name = "pretrained"
    Settings = PretrainedSettings

    @property
    def config(self) -> TrimformerConfig:
        return self.origins.checkpoint.config

    @property
    def new_head(self) -> bool:
        return not self.origins.has_trained_head

    def model(self) -> TrimformerWithHead:
        checkpoint, task = self.origins.checkpoint, self.origins.task
        if self.origins.has_trained_head:
            model: Any = build(checkpoint)
        else:
            model = build(checkpoint, labels=task.labels, kind=task.kind)
        return model
