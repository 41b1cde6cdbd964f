"""The encoder with a head: one class for each shape of an answer (one per text, one per token, a span of tokens)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.utils import ModelOutput

from ...errors import TrimformerError
from ..parts.axes import Axes
from ..parts.norms import layer_norm
from ..parts.trace import BodyOutput, TextOutput, TokenOutput, Trace
from ..shape.config import TrimformerConfig
from ..shape.gates import Gates
from .body import TrimformerModel, TrimformerPreTrainedModel

Kind = Literal["classification", "multilabel", "regression", "tokens", "spans"]
"""What is predicted: one label, several labels or a number per text; a label per word; a span of a context."""

PROBLEM_TYPES: dict[Kind, str] = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}
"""What transformers calls the kinds of a head for whole texts."""

IGNORED = -100
"""The label of a token that has none, as in torch's cross-entropy."""


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
        self.dropout = nn.Dropout(_dropout(config))
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


class TokenHead(nn.Module):
    """Dropout, linear: (batch, n, hidden) -> (batch, n, outputs)."""

    axes: ClassVar[dict[str, Axes]] = {"output": (None, "hidden")}

    def __init__(self, config: TrimformerConfig, outputs: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(_dropout(config))
        self.output = nn.Linear(config.hidden_size, outputs)

    @classmethod
    def params(cls, config: TrimformerConfig, outputs: int) -> int:
        """Its weights."""
        return (config.hidden_size + 1) * outputs

    @classmethod
    def flops(cls, config: TrimformerConfig, outputs: int) -> int:
        """Operations for one token."""
        return 2 * config.hidden_size * outputs

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.output(self.dropout(x))


class DenseTokenHead(ClassificationHead):
    """ModernBERT's head for each token: dense layer with norm, dropout, linear."""

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.classify(x)


def token_head(config: TrimformerConfig) -> type[TokenHead] | type[DenseTokenHead]:
    """The head for each token that the family has."""
    return DenseTokenHead if config.classifier_norm else TokenHead


def _dropout(config: TrimformerConfig) -> float:
    return float(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)


class TrimformerWithHead(TrimformerPreTrainedModel):
    """The encoder with a task head.

    The forward passes accept ``return_dict`` for libraries that give it to models of all kinds.
    """

    kinds: ClassVar[tuple[Kind, ...]]
    """The kinds of task that the head answers."""
    for_texts: ClassVar[bool] = False
    """Whether it answers once for a text, not for each token."""
    keeps_lower_head: ClassVar[bool] = False
    """Whether a checkpoint may bring layers of the head that lie below its last one (BERT's pooler)."""

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__(config)
        self.encoder = TrimformerModel(config)
        self.head = self.head_type(config)(config, self.outputs(config))
        self.post_init()

    @property
    def kind(self) -> Kind:
        """The kind of task that this model answers."""
        return kind_of(self.config, type(self))

    @classmethod
    def reads_first(cls, config: TrimformerConfig) -> bool:
        """Whether the head reads the first token only, so that the encoder need not compute the others to the end."""
        return False

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        """The module that the head is; it knows its weights and operations."""
        raise NotImplementedError

    @classmethod
    def outputs(cls, config: TrimformerConfig) -> int:
        """How many numbers it gives, for a text or for each token."""
        return len(config.label_names)

    def run(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        gates: Gates | None,
        output_hidden_states: bool,
        output_trace: bool,
        known_states: Sequence[Tensor],
    ) -> tuple[Tensor, BodyOutput]:
        """Logits, and what the body gave."""
        first_only = self.reads_first(self.config) and not (output_hidden_states or output_trace)
        out = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            gates,
            output_hidden_states,
            first_only=first_only,
            output_trace=output_trace,
            known_states=known_states,
        )
        return self.head(out.last_hidden_state, attention_mask), out

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embeddings.word


class TrimformerForSequenceClassification(TrimformerWithHead):
    """One label, several labels or one number per text, as ``config.problem_type`` says (None: by the labels' type)."""

    kinds = ("classification", "multilabel", "regression")
    for_texts = True
    keeps_lower_head = True

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
            loss = task_loss(kind, logits, labels)
        return TextOutput(loss=loss, logits=logits, hidden_states=out.hidden_states, trace=out.trace)


class TrimformerForTokenClassification(TrimformerWithHead):
    """One label per token."""

    kinds = ("tokens",)

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        return token_head(config)

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
    ) -> TokenOutput:
        """Logits of shape (batch, n, labels); with ``labels`` (batch, n), -100 where there is none, also the loss."""
        logits, out = self.run(
            input_ids, attention_mask, token_type_ids, gates, output_hidden_states, output_trace, known_states
        )
        loss = None if labels is None else task_loss("tokens", logits, labels)
        return TokenOutput(loss=loss, logits=logits, hidden_states=out.hidden_states, trace=out.trace)


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
        loss = None if labels is None else task_loss("spans", logits, labels, attention_mask)
        return SpanOutput(loss, logits[..., 0], logits[..., 1], out.hidden_states, out.trace)


HEADS: tuple[type[TrimformerWithHead], ...] = (
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
    TrimformerForQuestionAnswering,
)


def head_class(kind: Kind) -> type[TrimformerWithHead]:
    """The model class that answers this kind of task; raises TrimformerError for an unknown kind."""
    for head in HEADS:
        if kind in head.kinds:
            return head
    raise TrimformerError(f"Unknown kind {kind!r}: use one of {', '.join(get_args(Kind))}.")


def kind_of(config: TrimformerConfig, head: type[TrimformerWithHead]) -> Kind:
    """The kind of task that a head of this class answers, under this configuration.

    One output without a problem type is a number, as everywhere in transformers.
    """
    if head is not TrimformerForSequenceClassification:
        return head.kinds[0]
    if config.problem_type is None and len(config.label_names) == 1:
        return "regression"
    by_type = {name: kind for kind, name in PROBLEM_TYPES.items()}
    return by_type.get(config.problem_type or "", "classification")


def task_loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """The loss of a kind of task, computed in fp32, as a mean: over texts, labelled tokens, or both ends of the spans.

    Logits and labels as in the forward pass of the model class. attention_mask: (batch, n), so that no part of a span
    lies on padding.
    """
    logits = logits.float()
    if kind == "regression":
        return F.mse_loss(logits.flatten(), labels.float().flatten())
    if kind == "multilabel":
        return F.binary_cross_entropy_with_logits(logits, labels.float())
    if kind == "tokens":
        total = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        return total / (labels != IGNORED).sum().clamp(min=1)  # a batch without any label has loss 0, not NaN
    if kind == "spans":
        if attention_mask is not None:
            logits = logits.masked_fill(~attention_mask.bool()[..., None], torch.finfo(logits.dtype).min)
        return F.cross_entropy(logits, labels)
    return F.cross_entropy(logits, labels)
