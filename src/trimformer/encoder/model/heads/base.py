"""What a model with a head is, whatever it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ....errors import TrimformerError
from ....saved.exits import ExitShape
from ....saved.kinds import Kind
from ...parts.components import Component
from ...parts.elimination import eliminates
from ...parts.trace import BodyOutput, TokenOutput
from ...shape.config import TrimformerConfig
from ...shape.gates import Gates
from ..body import TrimformerModel, TrimformerPreTrainedModel
from ..exits import chosen, early_exit, exit_logits


class TrimformerWithHead(TrimformerPreTrainedModel):
    """The encoder with a task head.

    The forward passes accept ``return_dict`` for libraries that give it to models of all kinds.
    """

    components: ClassVar[dict[str, Component]] = {"head": Component.HEAD, "exits": Component.HEAD}
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
        if eliminates(config) and not self.reads_first(config):
            raise TrimformerError(
                "Layers that hand on fewer tokens need a head that reads the first token alone, and this one reads "
                "others: leave tokens out of the layers' shapes."
            )
        self.encoder = TrimformerModel(config)
        self.head = self.head_type(config)(config, self.outputs(config))
        self.exits = self.exit_heads(config)
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
    def exit_type(cls, config: TrimformerConfig) -> Any:
        """The module that each exit is."""
        return cls.head_type(config)

    @classmethod
    def outputs(cls, config: TrimformerConfig) -> int:
        """How many numbers it gives, for a text or for each token."""
        return len(config.label_names)

    @classmethod
    def exit_heads(cls, config: TrimformerConfig) -> nn.ModuleDict:
        """A head for each exit, by the number of the layer that it stands after.

        Raises TrimformerError where a model of this kind cannot have these exits.
        """
        if config.exits is None:
            return nn.ModuleDict()
        exits, outputs = ExitShape.read(config.exits), cls.outputs(config)
        exits.check_kind(cls.kind_under(config), outputs)
        return nn.ModuleDict({str(layer): cls.exit_type(config)(config, outputs) for layer in exits.after})

    def kind_of(self, labels: Tensor) -> Kind:
        """The kind of task that labels of this form belong to."""
        return self.kind

    def answer(self, loss: Tensor | None, logits: Tensor, out: BodyOutput, **exits: Any) -> Any:
        """What the forward pass gives. out: of the body. exits: what there is to say of the exits of a model."""
        return self.output_type(loss=loss, logits=logits, hidden_states=out.hidden_states, trace=out.trace, **exits)

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
        output_exits: bool = False,
    ) -> Any:
        """Logits, in the form that the class says; with ``labels``, as :meth:`loss` takes them, also the loss.

        Of a model with exits each row leaves where the rule says so, and ``executed`` counts its layers. In training,
        and with output_exits, none leaves: the logits are those of the last head, and ``exit_logits`` those of the
        exits. With gates, states or a trace the whole batch goes through all layers, for the same answers.
        """
        exits: dict[str, Any] = {}
        looks_inside = output_hidden_states or output_trace
        if self.exits and not (self.training or output_exits or looks_inside or gates is not None or known_states):
            out = BodyOutput()
            logits, exits["executed"] = early_exit(self, input_ids, attention_mask, token_type_ids)
        else:
            out = self.encoder(
                input_ids,
                attention_mask,
                token_type_ids,
                gates,
                output_hidden_states or bool(self.exits),
                first_only=self.reads_first(self.config) and not (looks_inside or self.exits),
                output_trace=output_trace,
                known_states=known_states,
            )
            logits = self.head(out.last_hidden_state, attention_mask)
            if self.exits:
                every = exit_logits(self, out, attention_mask, gates)
                exits["exit_logits"] = tuple(every)
                out.hidden_states = out.hidden_states if output_hidden_states else None
                if not (self.training or output_exits):
                    logits, exits["executed"] = chosen(self, [*every, logits], attention_mask, gates)
        loss = None if labels is None else self.loss(self.kind_of(labels), logits.float(), labels, attention_mask)
        return self.answer(loss, logits, out, **exits)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embeddings.word


def dropout_of(config: TrimformerConfig) -> float:
    """The rate before the last layer of a head."""
    return float(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)
