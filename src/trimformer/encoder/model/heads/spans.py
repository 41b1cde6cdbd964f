"""The head that finds the first and the last token of an answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.utils import ModelOutput

from ...parts.trace import Trace
from ...shape.config import TrimformerConfig
from ...shape.gates import Gates
from .base import Kind, TrimformerWithHead
from .tokens import token_head


@dataclasses.dataclass
class SpanOutput(ModelOutput):
    """Scores (batch, n) of each token as the first and as the last of the answer."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    trace: Trace | None = None

    @property
    def logits(self) -> Tensor:
        """(batch, n, 2)"""
        assert self.start_logits is not None
        assert self.end_logits is not None
        return torch.stack([self.start_logits, self.end_logits], -1)


class TrimformerForQuestionAnswering(TrimformerWithHead):
    """The first and the last token of the answer within the input."""

    kinds = ("spans",)

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        return token_head(config)

    @staticmethod
    def loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if attention_mask is not None:
            logits = logits.masked_fill(~attention_mask.bool()[..., None], torch.finfo(logits.dtype).min)
        return F.cross_entropy(logits, labels)

    @classmethod
    def outputs(cls, config: TrimformerConfig) -> int:
        return 2

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        gates: Gates | None = None,
        output_hidden_states: bool = False,
        output_trace: bool = False,
        return_dict: Literal[True] = True,
        known_states: Sequence[Tensor] = (),
    ) -> SpanOutput:
        """Start and end logits, each (batch, n); with ``labels`` (batch, 2), first and last token, also the loss."""
        logits, out = self.run(
            input_ids, attention_mask, token_type_ids, gates, output_hidden_states, output_trace, known_states
        )
        loss = None if labels is None else self.loss("spans", logits.float(), labels, attention_mask)
        return SpanOutput(loss, logits[..., 0], logits[..., 1], out.hidden_states, out.trace)
