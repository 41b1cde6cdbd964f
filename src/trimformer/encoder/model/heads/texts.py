"""The head that answers once for a text: one label, several labels or a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from ...parts.axes import Axes
from ...parts.norms import layer_norm
from ...parts.trace import TextOutput
from ...shape.config import TrimformerConfig
from ...shape.gates import Gates
from .base import Kind, TrimformerWithHead, dropout_of

PROBLEM_TYPES: dict[Kind, str] = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}
"""What transformers calls the kinds of a head for whole texts."""


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
        if not self.takes_mean:
            return x[:, 0]
        if attention_mask is None:
            return x.mean(1)
        mask = attention_mask.to(x.dtype)
        return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class TrimformerForSequenceClassification(TrimformerWithHead):
    """One label, several labels or one number per text, as ``config.problem_type`` says (None: by the labels' type)."""

    kinds = ("classification", "multilabel", "regression")
    for_texts = True
    keeps_lower_head = True

    @classmethod
    def kind_under(cls, config: TrimformerConfig) -> Kind:
        """One output without a problem type is a number, as everywhere in transformers."""
        if config.problem_type is None and len(config.label_names) == 1:
            return "regression"
        by_type = {name: kind for kind, name in PROBLEM_TYPES.items()}
        return by_type.get(config.problem_type or "", "classification")

    @staticmethod
    def loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if kind == "regression":
            return F.mse_loss(logits.flatten(), labels.float().flatten())
        if kind == "multilabel":
            return F.binary_cross_entropy_with_logits(logits, labels.float())
        return F.cross_entropy(logits, labels)

    @classmethod
    def reads_first(cls, config: TrimformerConfig) -> bool:
        return config.classifier_pooling == "cls"

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        return ClassificationHead

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
    ) -> TextOutput:
        """Logits of shape (batch, labels); with ``labels`` also the loss (mean over the batch).

        labels: int64 (batch,) for one label, float (batch,) for a number, float (batch, labels) of 0 and 1 for several.
        """
        logits, out = self.run(
            input_ids, attention_mask, token_type_ids, gates, output_hidden_states, output_trace, known_states
        )
        loss = None
        if labels is not None:
            kind = self.kind
            if self.config.problem_type is None and labels.is_floating_point():
                kind = "multilabel" if labels.ndim == 2 and labels.shape[1] > 1 else "regression"
            loss = self.loss(kind, logits.float(), labels)
        return TextOutput(loss=loss, logits=logits, hidden_states=out.hidden_states, trace=out.trace)
