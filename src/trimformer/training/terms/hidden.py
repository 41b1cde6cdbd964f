"""Distillation of hidden states, layer by layer (TinyBERT: Jiao et al., 2020, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field
from torch import Tensor

from ...encoder.model.heads import Kind
from ..distill import hidden_loss
from ..matching import Layers, Pair
from ..reading import Reading, state
from .base import TERMS, Term


class HiddenSettings(BaseModel):
    hidden: float = Field(0.0, ge=0, description="distillation of the teacher's hidden states, layer by layer")


@TERMS.add("hidden")
class HiddenTerm(Term):
    """The distance of the outputs of all layers that see the same tokens of a row."""

    name = "hidden"
    Settings = HiddenSettings
    order = 2
    reads_states = True

    def match(self, layers: Layers) -> Sequence[Pair]:
        return layers.alike

    def readings(self) -> set[Reading]:
        return {state(self.layers.teacher, layer + 1) for _, layer in self.pairs}

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        student = [out.hidden_states[layer + 1] for layer, _ in self.pairs]
        teacher = [target.hidden_states[layer + 1] for _, layer in self.pairs]
        return hidden_loss(student, teacher, batch["attention_mask"])
