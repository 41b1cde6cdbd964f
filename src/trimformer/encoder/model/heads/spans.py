"""The head that finds the first and the last token of an answer."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.utils import ModelOutput

from ....saved.kinds import HEADS, Kind
from ...parts.trace import BodyOutput, Trace
from ...shape.config import TrimformerConfig
from .base import TrimformerWithHead
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
    """The first and the last token of the answer within the input: start and end logits, each (batch, n).

    labels: (batch, 2), first and last token.
    """

    kinds = HEADS["ForQuestionAnswering"]
    unnamed = MappingProxyType({"spans": ("start", "end")})

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

    def answer(self, loss: Tensor | None, logits: Tensor, out: BodyOutput, **exits: Any) -> SpanOutput:
        return SpanOutput(loss, logits[..., 0], logits[..., 1], out.hidden_states, out.trace)
