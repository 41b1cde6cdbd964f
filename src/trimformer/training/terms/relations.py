"""Distillation of how the last layer relates the tokens to one another (MiniLM: Wang et al., 2020 and 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from ...encoder.model.heads import Kind
from ...encoder.parts.trace import AttentionTrace
from ...errors import TrimformerError
from ..distill import attended_pairs, divergence, real_pairs
from ..matching import Layers, Pair, traced
from ..reading import Reading, scores, vectors
from .base import TERMS, Term

Relation = Literal["attention", "query", "key", "value"]


class RelationsSettings(BaseModel):
    relations: float = Field(0.0, ge=0, description="distillation of the last layer's relations between tokens")
    relation_terms: list[Relation] = Field(
        ["query", "key", "value"],
        min_length=1,
        description="query, key, value: MiniLM v2; attention, value: MiniLM; their divergences are summed",
    )
    relation_heads: int | None = Field(
        None, ge=1, description="of queries, keys and values, split anew; none: as many as the teacher's layer has"
    )


@TERMS.add("relations")
class RelationsTerm(Term):
    """The divergence of the relations in the student's last attending layer.

    heads: into which queries, keys and values are split anew.
    """

    name = "relations"
    Settings = RelationsSettings
    order = 5
    reads_trace = True

    def __init__(self, settings: Any, layers: Layers) -> None:
        super().__init__(settings, layers)
        shapes = layers.shapes(self.pairs[0])
        self.heads: int = settings.relation_heads or shapes[1].heads
        for who, shape in zip(("student", "teacher"), shapes, strict=True):
            widths = {"query": shape.query_key_width, "key": shape.query_key_width, "value": shape.width}
            for relation in settings.relation_terms:
                if widths.get(relation, 0) % self.heads:  # attention has the heads of its layer
                    raise TrimformerError(
                        f"The {who}'s {relation} is {widths[relation]} wide, which {self.heads} relation heads do not "
                        "divide: give relation_heads a number that divides the width of student and teacher."
                    )

    def match(self, layers: Layers) -> Sequence[Pair]:
        pairs = layers.head_by_head if "attention" in self.settings.relation_terms else layers.attending
        return pairs[-1:]

    def readings(self) -> set[Reading]:
        teacher, (_, layer) = self.layers.teacher, self.pairs[0]
        found: set[Reading] = set()
        for relation in self.settings.relation_terms:
            found |= scores(teacher, layer) if relation == "attention" else {vectors(teacher, layer, relation)}
        return found

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        mask, relations = batch["attention_mask"], self.settings.relation_terms
        for s, t in traced(self.pairs, out.trace):
            return relation_loss(out.trace[s], target.trace[t], mask, relations, self.heads)
        return torch.zeros((), device=mask.device)


def relation_loss(
    student: AttentionTrace, teacher: AttentionTrace, mask: Tensor, relations: Iterable[Relation], heads: int
) -> Tensor:
    """The sum over the relations of KL(teacher ‖ student), each a mean over queries and heads.

    ``attention`` is the attention distribution of the layer's own heads (MiniLM: Wang et al., 2020, section 3.1), over
    the keys that both layers attend to.
    ``query``, ``key``, ``value`` are softmax(XXᵀ/√d) of these, their heads joined and split into ``heads`` relation
    heads of size d (MiniLM v2: Wang et al., 2021); with the layer's own number of heads ``value`` is the
    value-relation of MiniLM (section 3.2).
    """
    total = torch.zeros((), device=mask.device)
    for relation in relations:
        if relation == "attention":
            compared, pairs = (student.scores, teacher.scores), attended_pairs(mask, student, teacher)
        else:
            ours, theirs = getattr(student, relation), getattr(teacher, relation)
            compared, pairs = (self_relation(ours, heads), self_relation(theirs, heads)), real_pairs(mask)[:, None]
        total = total + divergence(*compared, pairs, mask)
    return total


def self_relation(x: Tensor, heads: int) -> Tensor:
    """XXᵀ/√d of queries, keys or values (batch, their heads, n, size): (batch, heads, n, n)."""
    x = x.float().transpose(1, 2).flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2)
    return x @ x.transpose(-1, -2) / math.sqrt(x.shape[-1])
