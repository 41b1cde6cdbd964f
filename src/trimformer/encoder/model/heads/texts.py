"""The head that answers once for a text: one label, several labels, a number or a relevance."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from ....saved.exits import ExitShape
from ....saved.kinds import HEADS, RELEVANCE, Kind, kind_of_texts
from ...parts.axes import Axes
from ...parts.norms import layer_norm
from ...parts.trace import TextOutput
from ...shape.config import TrimformerConfig
from .base import TrimformerWithHead, dropout_of
from .linear import LinearHead


class ClassificationHead(nn.Module):
    """Dense layer on one vector per text, dropout, linear: (batch, n, hidden) -> (batch, labels).

    It is BERT's pooler + classifier and the classification heads of other families, which differ in names, in the
    activation of the dense layer, DeBERTa's in dropout before it, and ModernBERT's in a norm after it and in a choice
    of the vector: that of the first token or the mean. axes: as those of attention; the first layer keeps its width.
    """

    axes: ClassVar[dict[str, Axes]] = {"dense": (None, "hidden"), "norm": (None,), "output": (None, None)}

    def __init__(self, config: TrimformerConfig, outputs: int) -> None:
        super().__init__()
        self.takes_mean = config.classifier_pooling == "mean"
        self.pooler_dropout = nn.Dropout(config.pooler_dropout)
        width = config.classifier_size or config.hidden_size
        self.dense = nn.Linear(config.hidden_size, width, bias=config.classifier_bias)
        self.activation = ACT2FN[config.classifier_act]
        self.norm = layer_norm(config, width) if config.classifier_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout_of(config))
        self.output = nn.Linear(width, outputs)

    @classmethod
    def params(cls, config: TrimformerConfig, outputs: int) -> int:
        """Its weights."""
        d, width = config.hidden_size, config.classifier_size or config.hidden_size
        norm = width * (1 + config.norm_bias) * config.classifier_norm
        return d * width + width * config.classifier_bias + norm + (width + 1) * outputs

    @classmethod
    def flops(cls, config: TrimformerConfig, outputs: int) -> int:
        """Operations for one vector."""
        return 2 * (config.hidden_size + outputs) * (config.classifier_size or config.hidden_size)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.classify(self.pool(x, attention_mask))

    def classify(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.norm(self.activation(self.dense(self.pooler_dropout(x))))))

    def pool(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(batch, n, hidden) -> (batch, hidden)"""
        return mean_of(x, attention_mask) if self.takes_mean else x[:, 0]


class MeanHead(LinearHead):
    """A :class:`LinearHead` of the mean over the real tokens: (batch, n, hidden) -> (batch, labels)."""

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return super().forward(mean_of(x, attention_mask))


def mean_of(x: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The mean over the real tokens, (batch, n, hidden) -> (batch, hidden)."""
    if attention_mask is None:
        return x.mean(1)
    mask = attention_mask.to(x.dtype)
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class TrimformerForSequenceClassification(TrimformerWithHead):
    """One label, several labels, one number or one relevance per text, as ``config.problem_type`` says (None: by the
    labels' type): logits (batch, labels).

    labels: int64 (batch,) for one label, float (batch,) for a number or a relevance, float (batch, labels) of 0 and 1
    for several.
    """

    kinds = HEADS["ForSequenceClassification"]
    unnamed = MappingProxyType({"regression": ("score",), "ranking": (RELEVANCE,)})
    output_type = TextOutput
    for_texts = True
    keeps_lower_head = True

    @classmethod
    def kind_under(cls, config: TrimformerConfig) -> Kind:
        """One output without a problem type is a number, as everywhere in transformers."""
        return kind_of_texts(config.problem_type, config.label_names)

    @staticmethod
    def loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if kind == "regression":
            return F.mse_loss(logits.flatten(), labels.float().flatten())
        if kind == "ranking":
            return F.binary_cross_entropy_with_logits(logits.flatten(), labels.float().flatten())
        if kind == "multilabel":
            return F.binary_cross_entropy_with_logits(logits, labels.float())
        return F.cross_entropy(logits, labels)

    @classmethod
    def reads_first(cls, config: TrimformerConfig) -> bool:
        return config.classifier_pooling == "cls"

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        return ClassificationHead

    @classmethod
    def exit_type(cls, config: TrimformerConfig) -> Any:
        reads_mean = config.exits is not None and ExitShape.read(config.exits).reads == "mean"
        return MeanHead if reads_mean else ClassificationHead

    def kind_of(self, labels: Tensor) -> Kind:
        if self.config.problem_type is None and labels.is_floating_point():
            return "multilabel" if labels.ndim == 2 and labels.shape[1] > 1 else "regression"
        return self.kind
