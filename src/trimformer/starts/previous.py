"""Start from what the stage before leaves; the first stage: from the dense model."""

from __future__ import annotations

from typing import Literal

from transformers import PreTrainedTokenizerBase

from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from .base import Start, StartSettings, register


class PreviousSettings(StartSettings):
    """The stage before has no settings here."""

    name: Literal["previous"] = "previous"


@register
class Previous(Start):
    """The model and the tokenizer that the stage before leaves."""

    name = "previous"
    Settings = PreviousSettings

    @property
    def config(self) -> TrimformerConfig:
        return self.origins.previous.config

    @property
    def own_tokenizer(self) -> bool:
        return self.origins.previous.own_tokenizer

    def model(self) -> TrimformerWithHead:
        return self.origins.previous.model()

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        return self.origins.previous.tokenizer()
