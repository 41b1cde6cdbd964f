"""Distillation of the embeddings (TinyBERT: Jiao et al., 2020, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from torch import Tensor

from ...encoder.model.heads import Kind
from ..distill import hidden_loss
from ..reading import Reading, state
from .base import TERMS, Term


class EmbeddingsSettings(BaseModel):
    embeddings: float = Field(0.0, ge=0, description="distillation of the output of the embeddings")


@TERMS.add("embeddings")
class EmbeddingsTerm(Term):
    """The distance of what goes into the first layer."""

    name = "embeddings"
    Settings = EmbeddingsSettings
    order = 3
    reads_states = True

    def readings(self) -> set[Reading]:
        return {state(self.layers.teacher, 0)}

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        return hidden_loss([out.hidden_states[0]], [target.hidden_states[0]], batch["attention_mask"])
