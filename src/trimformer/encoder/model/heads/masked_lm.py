"""The head that says which token stood in a place: the masked-LM head of pre-training, tied to the word table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn
from transformers.activations import ACT2FN

from ....saved.kinds import HEADS, Kind
from ...parts.axes import Axes
from ...parts.norms import layer_norm, normed, scaled
from ...parts.trace import BodyOutput, MaskedOutput
from ...shape.config import TrimformerConfig
from ...shape.gates import Gates
from .base import TrimformerWithHead
from .tokens import token_loss


class MaskedLMHead(nn.Module):
    """Dense layer, activation, norm, and the word table as the last map: (…, hidden) -> (…, vocabulary).

    It is as wide inside as the word table (Devlin et al., 2019; narrower than the layers where the embeddings are
    factorised, Lan et al., 2020), so that it loses the hidden dimensions that the table loses.
    """

    def __init__(self, config: TrimformerConfig, outputs: int) -> None:
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.factorised = config.embedding_size is not None
        inside = None if self.factorised else "hidden"
        self.axes: dict[str, Axes] = {
            "dense": (inside, "hidden"),
            "norm": (inside,),
            "output": ("vocabulary", None if self.factorised else "stream"),
        }
        self.dense = nn.Linear(config.hidden_size, width, bias=config.classifier_bias)
        # ModernBERT's head has an activation of its own, which its other heads have too.
        self.activation = ACT2FN[config.classifier_act if config.classifier_norm else config.hidden_act]
        self.norm = layer_norm(config, width)
        self.output = nn.Linear(width, outputs)

    @classmethod
    def params(cls, config: TrimformerConfig, outputs: int) -> int:
        """Its weights without the word table."""
        width = config.embedding_size or config.hidden_size
        return width * (config.hidden_size + config.classifier_bias + 1 + config.norm_bias) + outputs

    @classmethod
    def flops(cls, config: TrimformerConfig, outputs: int) -> int:
        """Operations for one token."""
        width = config.embedding_size or config.hidden_size
        return 2 * width * (config.hidden_size + outputs)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """hidden: gates of the hidden dimensions, those of the word table too unless it has its own."""
        own = None if self.factorised else hidden
        x = scaled(self.activation(self.dense(x)), None if own is None else own != 0)
        logits: Tensor = self.output(scaled(normed(self.norm, x, own), own))
        return logits


class TrimformerForMaskedLM(TrimformerWithHead):
    """The token that stood at each place, or at the places that are asked for."""

    kinds = HEADS["ForMaskedLM"]
    output_type = MaskedOutput

    def share(self) -> None:
        """The last map is the word table."""
        head: Any = self.head
        head.output.weight = self.encoder.embeddings.word.weight

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        return MaskedLMHead

    @classmethod
    def outputs(cls, config: TrimformerConfig) -> int:
        return config.vocab_size

    @staticmethod
    def loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return token_loss(logits, labels)

    def forward(  # type: ignore[override]  # it has no exits, and places to be asked at
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
        asked: Tensor | None = None,
    ) -> Any:
        """Logits of shape (batch, n, vocabulary); with ``labels`` (batch, n), -100 where there is none, also the loss.

        asked: boolean (batch, n): the places whose logits are wanted, for the last map is a large part of the work.
        Then logits are (places, vocabulary), row by row, and labels (places,).
        """
        out: BodyOutput = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            gates,
            output_hidden_states,
            output_trace=output_trace,
            known_states=known_states,
        )
        states = out.last_hidden_state
        assert states is not None
        logits = self.head(
            states if asked is None else states[asked], attention_mask, None if gates is None else gates.hidden
        )
        loss = None if labels is None else self.loss("masked-lm", logits.float(), labels)
        return self.answer(loss, logits, out)

    def get_output_embeddings(self) -> nn.Linear:
        head: Any = self.head
        found: nn.Linear = head.output
        return found
