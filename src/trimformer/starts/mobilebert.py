"""Start from MobileBERT's shape (Sun, Yu, Song, Liu, Yang and Zhou, 2020) on the teacher's word table."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt

from ..encoder.checkpoints.load import with_labels
from ..encoder.model.heads import TrimformerWithHead, head_class
from ..encoder.parts.layers.bottleneck import bottleneck_shape
from ..encoder.shape.config import TrimformerConfig
from .base import Start, StartSettings, register
from .vectors import fitted


class MobileBertSettings(StartSettings):
    """Sizes of MobileBERT, as published."""

    name: Literal["mobilebert"] = "mobilebert"
    layers: PositiveInt = Field(24, description="bottleneck layers")
    hidden: PositiveInt = Field(512, description="dimensions between the layers")
    body: PositiveInt = Field(128, description="dimensions inside of a layer")
    heads: PositiveInt = Field(4, description="of each layer; they divide body")
    blocks: PositiveInt = Field(4, description="feed-forward blocks of each layer")
    ffn: PositiveInt = Field(512, description="units of each block")
    embedding: PositiveInt = Field(128, description="width of the word table, which is mapped to hidden")

    @property
    def label(self) -> str:
        return f"MobileBERT of {self.layers} layers, {self.hidden} wide with a body of {self.body}"

    @property
    def student(self) -> str:
        return self.label


@register
class MobileBert(Start):
    """Deep and thin: random layers with bottlenecks, and word vectors from the teacher."""

    name = "mobilebert"
    Settings = MobileBertSettings
    is_student = True

    @property
    def new_head(self) -> bool:
        return True

    @property
    def config(self) -> TrimformerConfig:
        dense, settings = self.origins.dense.config, self.settings
        shape = bottleneck_shape(settings.body, settings.heads, settings.blocks, settings.ffn)
        width = min(settings.embedding, dense.embedding_size or dense.hidden_size)
        changes = {
            "layer_kind": "bottleneck",
            "layers": [shape.to_dict()] * settings.layers,
            "sharing": None,
            "hidden_size": settings.hidden,
            "embedding_size": width if width != settings.hidden else None,
            "hidden_act": "relu",
            # Its attention knows of no positions, so that the embeddings have to.
            "positions": "absolute" if dense.positions == "none" else dense.positions,
            "attention_positions": "none",
            "relative_heads": None,
            "classifier_size": None,
        }
        config = TrimformerConfig.from_dict(dense.to_dict() | changes)
        return with_labels(config, self.origins.task.labels, self.origins.task.kind)

    def model(self) -> TrimformerWithHead:
        made = head_class(self.origins.task.kind)(self.config)
        with torch.no_grad():
            table, words = made.get_input_embeddings().weight, self.origins.dense.model().get_input_embeddings().weight
            table.copy_(fitted(words.detach(), table.shape[1]))
        return made.eval()
