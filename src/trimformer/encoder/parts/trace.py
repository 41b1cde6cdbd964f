"""What the layers of a pass mixed the tokens with, handed out on request: for distillation and for looking inside."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from torch import Tensor
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from .patterns.base import Pattern


class AttentionTrace(NamedTuple):
    """Queries, keys and values of one layer that attends, each (batch, heads, n, size).

    Rotary positions are in the queries and keys; other positions add ``bias`` to the scores, broadcastable to (batch,
    heads, n, n). All is as it was before gates for positions and before padding is left out. scale: of the products;
    window: see LayerShape. pattern: of a ``sparse`` layer.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    bias: Tensor | None
    window: int | None
    pattern: Pattern | None = None

    @property
    def scores(self) -> Tensor:
        """The scores before the softmax, (batch, heads, n, n)."""
        scores = self.query @ self.key.transpose(-1, -2) * self.scale
        return scores if self.bias is None else scores + self.bias


Trace = tuple[AttentionTrace | None, ...]
"""One entry for each layer; None where it attended to nothing: another attention kind, or gated off in this pass."""


@dataclasses.dataclass
class BodyOutput(BaseModelOutput):
    trace: Trace | None = None


@dataclasses.dataclass
class TextOutput(SequenceClassifierOutput):
    """exit_logits: of each exit, as ``logits``; executed: (batch,), the layers that each row went through.

    Both are of models with exits: the first of a pass through all layers, the second where rows may leave.
    """

    trace: Trace | None = None
    exit_logits: tuple[Tensor, ...] | None = None
    executed: Tensor | None = None


@dataclasses.dataclass
class TokenOutput(TokenClassifierOutput):
    """As :class:`TextOutput`, with logits for each token."""

    trace: Trace | None = None
    exit_logits: tuple[Tensor, ...] | None = None
    executed: Tensor | None = None


@dataclasses.dataclass
class MaskedOutput(MaskedLMOutput):
    trace: Trace | None = None
