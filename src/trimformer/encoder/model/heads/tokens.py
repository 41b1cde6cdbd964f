"""The head that answers for every token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ....saved.kinds import HEADS, IGNORED, Kind
from ...shape.config import TrimformerConfig
from .base import TrimformerWithHead
from .linear import LinearHead
from .texts import ClassificationHead


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy over the tokens that have a label. logits: (…, outputs), labels: (…)."""
    total = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)  # a batch without any label has loss 0, not NaN


class DenseTokenHead(ClassificationHead):
    """ModernBERT's head for each token: dense layer with norm, dropout, linear."""

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.classify(x)


def token_head(config: TrimformerConfig) -> type[LinearHead] | type[DenseTokenHead]:
    """The head for each token that the family has."""
    return DenseTokenHead if config.classifier_norm else LinearHead


class TrimformerForTokenClassification(TrimformerWithHead):
    """One label per token: logits (batch, n, labels), labels (batch, n), -100 where there is none."""

    kinds = HEADS["ForTokenClassification"]

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        return token_head(config)

    @staticmethod
    def loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return token_loss(logits, labels)
