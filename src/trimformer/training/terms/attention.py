"""Distillation of attention, layer by layer: its scores (TinyBERT: Jiao et al., 2020, section 3.1) or its distributions
(MobileBERT: Sun et al., 2020, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from ...encoder.model.heads import Kind
from ...encoder.parts.trace import AttentionTrace
from ..distill import attended_pairs, divergence
from ..matching import Layers, Pair, traced
from ..reading import Reading, scores
from .base import TERMS, Term


class AttentionSettings(BaseModel):
    attention: float = Field(0.0, ge=0, description="distillation of attention, layer by layer")
    attention_distance: Literal["squared", "divergence"] = Field(
        "squared", description="of the scores, or divergence: of the attention distributions"
    )


@TERMS.add("attention")
class AttentionTerm(Term):
    """The distance of the attention of the layers that have as many heads as their teachers."""

    name = "attention"
    Settings = AttentionSettings
    order = 4
    reads_trace = True

    def match(self, layers: Layers) -> Sequence[Pair]:
        return layers.head_by_head

    def readings(self) -> set[Reading]:
        return {reading for _, layer in self.pairs for reading in scores(self.layers.teacher, layer)}

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        pairs = traced(self.pairs, out.trace)
        student, teacher = [out.trace[s] for s, _ in pairs], [target.trace[t] for _, t in pairs]
        loss = attention_loss if self.settings.attention_distance == "squared" else distribution_loss
        return loss(student, teacher, batch["attention_mask"])


def attention_loss(student: Sequence[AttentionTrace], teacher: Sequence[AttentionTrace], mask: Tensor) -> Tensor:
    """Mean squared error of the scores before the softmax, averaged over heads and layers (TinyBERT, section 3.1).

    Jiao et al. (2020) sum over the layers; a mean keeps the weight of the term when layers lose their attention. Over
    pairs of real tokens that both layers attend to; 0 without any.
    """
    terms = []
    for s, t in zip(student, teacher, strict=True):
        error = (s.scores.float() - t.scores.float()).square()
        pairs = attended_pairs(mask, s, t).expand_as(error)
        terms.append(error.masked_fill(~pairs, 0).sum() / pairs.sum().clamp(min=1))
    return torch.stack(terms).mean() if terms else torch.zeros((), device=mask.device)


def distribution_loss(student: Sequence[AttentionTrace], teacher: Sequence[AttentionTrace], mask: Tensor) -> Tensor:
    """KL(teacher ‖ student) of what the softmax makes of the scores, a mean over heads, real queries and layers.

    Over the keys that both layers attend to (MobileBERT, section 3: attention transfer); 0 without any layer.
    """
    terms = [
        divergence(s.scores, t.scores, attended_pairs(mask, s, t), mask) for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(terms).mean() if terms else torch.zeros((), device=mask.device)
