"""The encoder with a head: one file for each shape of an answer (one per text or token, a span of tokens, a vector)."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from ....errors import TrimformerError
from ....saved.kinds import IGNORED, Kind
from .base import TrimformerWithHead
from .embedding import EmbeddingHead, TrimformerForEmbedding
from .linear import LinearHead
from .masked_lm import MaskedLMHead, TrimformerForMaskedLM
from .spans import SpanOutput, TrimformerForQuestionAnswering
from .texts import ClassificationHead, TrimformerForSequenceClassification
from .tokens import DenseTokenHead, TrimformerForTokenClassification

__all__ = [
    "HEADS",
    "IGNORED",
    "ClassificationHead",
    "DenseTokenHead",
    "EmbeddingHead",
    "Kind",
    "LinearHead",
    "MaskedLMHead",
    "SpanOutput",
    "TrimformerForEmbedding",
    "TrimformerForMaskedLM",
    "TrimformerForQuestionAnswering",
    "TrimformerForSequenceClassification",
    "TrimformerForTokenClassification",
    "TrimformerWithHead",
    "head_class",
    "task_loss",
]

HEADS: tuple[type[TrimformerWithHead], ...] = (
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
    TrimformerForQuestionAnswering,
    TrimformerForEmbedding,
    TrimformerForMaskedLM,
)


def head_class(kind: Kind) -> type[TrimformerWithHead]:
    """The model class that answers this kind of task; raises TrimformerError for an unknown kind."""
    for head in HEADS:
        if kind in head.kinds:
            return head
    raise TrimformerError(f"Unknown kind {kind!r}: use one of {', '.join(get_args(Kind))}.")


def task_loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """The loss of a kind of task, computed in fp32, as a mean: over texts, labelled tokens, or both ends of the spans.

    Logits and labels as in the forward pass of the model class. Rows without a label, which have IGNORED or NaN in its
    place, do not count; where no row has one the loss is 0. attention_mask: (batch, n), so that no part of a span lies
    on padding.
    """
    there = ~labels.isnan() if labels.is_floating_point() else labels != IGNORED
    rows = there.flatten(1).any(1) if there.ndim > 1 else there
    if not rows.any():
        return 0 * logits.float().sum()
    if not rows.all():
        logits, labels = logits[rows], labels[rows]
        attention_mask = None if attention_mask is None else attention_mask[rows]
    return head_class(kind).loss(kind, logits.float(), labels, attention_mask)
