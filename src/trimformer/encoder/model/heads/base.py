"""What a model with a head is, whatever it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ...parts.components import Component
from ...parts.trace import BodyOutput, TokenOutput
from ...shape.config import TrimformerConfig
from ...shape.gates import Gates
from ..body import TrimformerModel, TrimformerPreTrainedModel

Kind = Literal["classification", "multilabel", "regression", "ranking", "tokens", "spans", "embedding", "masked-lm"]
"""What is predicted: one or several labels, a number, a relevance or a vector per text; a label per word; a span of
a context; the tokens that were masked."""


class TrimformerWithHead(TrimformerPreTrainedModel):
    """The encoder with a task head.

    The forward passes accept ``return_dict`` for libraries that give it to models of all kinds.
    """

    components: ClassVar[dict[str, Component]] = {"head": Component.HEAD}
    kinds: ClassVar[tuple[Kind, ...]]
    """The kinds of task that the head answers."""
    unnamed: ClassVar[Mapping[Kind, Sequence[str]]] = {}
    """What stands for label names where a kind of task has none."""
    output_type: ClassVar[Any] = TokenOutput
    """The class of what the forward pass gives."""
    for_texts: ClassVar[bool] = False
    """Whether it answers once for a text, not for each token."""
    keeps_lower_head: ClassVar[bool] = False
    """Whether a checkpoint may bring layers of the head that lie below its last one (BERT's pooler)."""

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__(config)
        self.encoder = TrimformerModel(config)
        self.head = self.head_type(config)(config, self.outputs(config))
        self.share()
        self.post_init()

    def share(self) -> None:
        """Let the head hold weights of the encoder, where it has some in common with it."""

    @property
    def kind(self) -> Kind:
        """The kind of task that this model answers."""
        return self.kind_under(self.config)

    @classmethod
    def kind_under(cls, config: TrimformerConfig) -> Kind:
        """The kind of task that it answers under this configuration."""
        return cls.kinds[0]

    @staticmethod
    def loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The mean loss of fp32 logits and labels, both as in the forward pass."""
        raise NotImplementedError

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

    def kind_of(self, labels: Tensor) -> Kind:
        """The kind of task that labels of this form belong to."""
        return self.kind

    def answer(self, loss: Tensor | None, logits: Tensor, out: BodyOutput) -> Any:
        """What the forward pass gives. out: of the body."""
        return self.output_type(loss=loss, logits=logits, hidden_states=out.hidden_states, trace=out.trace)

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
    ) -> Any:
        """Logits, in the form that the class says; with ``labels``, as :meth:`loss` takes them, also the loss."""
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
        logits = self.head(out.last_hidden_state, attention_mask)
        loss = None if labels is None else self.loss(self.kind_of(labels), logits.float(), labels, attention_mask)
        return self.answer(loss, logits, out)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embeddings.word


def dropout_of(config: TrimformerConfig) -> float:
    """The rate before the last layer of a head."""
    return float(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)
