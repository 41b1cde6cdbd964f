"""The body of the one encoder: a Transformer in which every layer has its own shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput

from ..errors import TrimformerError
from .attention import ATTENTION, Shared
from .config import LayerShape, TrimformerConfig
from .gates import Gates, LayerGates
from .positions import mechanism_of


class Embeddings(nn.Module):
    """Word + position + segment embeddings, LayerNorm, dropout, projection: (batch, n) ids -> (batch, n, hidden)."""

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__()
        self.pad_token_id = config.pad_token_id or 0
        self.from_padding = config.positions == "from_padding"
        width = config.embedding_size or config.hidden_size
        self.word = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        has_positions = config.positions != "none"
        self.position = nn.Embedding(config.max_position_embeddings, width) if has_positions else None
        has_segments = config.type_vocab_size > 0
        self.segment = nn.Embedding(config.type_vocab_size, width) if has_segments else None
        self.norm = layer_norm(config, width)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        factorised = config.embedding_size is not None
        self.projection = nn.Linear(width, config.hidden_size) if factorised else nn.Identity()

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        x: Tensor = self.projection(self.dropout(self.look_up(input_ids, token_type_ids)))
        return x

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """The embeddings without dropout."""
        x: Tensor = self.projection(self.look_up(input_ids, token_type_ids))
        return x

    def look_up(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """The normalised sum of the tables' rows, as wide as the tables."""
        x = self.word(input_ids)
        if self.position is not None:
            x = x + self.position(self.number(input_ids))
        if self.segment is not None:
            # A segment that nobody names is segment 0, whose row is broadcast instead of being looked up n times.
            x = x + (self.segment.weight[0] if token_type_ids is None else self.segment(token_type_ids))
        return self.norm(x)

    def number(self, input_ids: Tensor) -> Tensor:
        """The position of each token, as (batch, n) or (1, n)."""
        if self.from_padding:
            real = input_ids.ne(self.pad_token_id).long()
            return real.cumsum(1) * real + self.pad_token_id
        return torch.arange(input_ids.shape[1], device=input_ids.device)[None]


def layer_norm(config: TrimformerConfig, width: int | None = None) -> nn.LayerNorm:
    return nn.LayerNorm(width or config.hidden_size, eps=config.layer_norm_eps, bias=config.norm_bias)


class Layer(nn.Module):
    """One post-LayerNorm layer: y = LN(x + Attention(x)); LN(y + FFN(y)).

    ``first_only``: the result for the first token, (batch, 1, hidden), of an input with all tokens.
    """

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__()
        self.attention = ATTENTION[shape.attention](config, shape)
        self.attention_norm: nn.Module = layer_norm(config)
        self.ffn_in = nn.Linear(config.hidden_size, shape.ffn, bias=config.ffn_bias)
        self.ffn_out = nn.Linear(shape.ffn, config.hidden_size, bias=config.ffn_bias)
        self.ffn_norm = layer_norm(config)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool = False) -> Tensor:
        mixed = self.attention(x, shared, gates, first_only)
        x = self.attention_norm(add(x[:, :1] if first_only else x, mixed, self.dropout))
        return self.ffn_norm(x + self.dropout(self.ffn_out(self.activation(self.ffn_in(x)))))


class PreNormLayer(Layer):
    """One layer of ModernBERT: y = x + Attention(LN(x)); y + FFN(LN(y)), the FFN gated (GLU: Shazeer, 2020).

    The first layer has no norm before its attention, for the embeddings end with one; nor has one without attention.
    """

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool) -> None:
        super().__init__(config, shape)
        if first or shape.attention == "none":
            self.attention_norm = nn.Identity()
        self.attention_dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.ffn_gate = nn.Linear(config.hidden_size, shape.ffn, bias=config.ffn_bias)

    def forward(self, x: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool = False) -> Tensor:
        mixed = self.attention(self.attention_norm(x), shared, gates, first_only)
        x = add(x[:, :1] if first_only else x, mixed, self.attention_dropout)
        y = self.ffn_norm(x)
        return x + self.ffn_out(self.dropout(self.activation(self.ffn_in(y)) * self.ffn_gate(y)))


def add(x: Tensor, mixed: Tensor | None, dropout: nn.Module) -> Tensor:
    """The residual sum; nothing is added where there is no attention."""
    return x if mixed is None else x + dropout(mixed)


def share(layers: Iterable[Layer], groups: Sequence[int]) -> None:
    """Let layers of the same group hold the same modules; the first that has a module gives it to the others.

    A ``mean`` layer has no query and key, so that those of its group may belong to a later layer; and so on.
    """
    owners: dict[tuple[int, str], nn.Module] = {}
    for layer, group in zip(layers, groups, strict=True):
        for name, module in list(layer.named_modules()):
            if next(module.children(), None) is None and next(module.parameters(), None) is not None:
                layer.set_submodule(name, owners.setdefault((group, name), module))


class TrimformerPreTrainedModel(PreTrainedModel):
    """Loading and saving, shared by the body and the heads."""

    config: TrimformerConfig
    config_class = TrimformerConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True
    _no_split_modules = ["Layer", "PreNormLayer"]  # noqa: RUF012  (read by transformers)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:  # type: ignore[override]
        """Further names of shared weights -> the first; transformers saves and loads only the first."""
        first: dict[int, str] = {}
        names = [(name, first.setdefault(id(p), name)) for name, p in self.named_parameters(remove_duplicate=False)]
        return {name: source for name, source in names if name != source}

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        return self._tied_weights_keys

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as :meth:`transformers.PreTrainedModel.from_pretrained` does, and verify that the weights fit the shape.

        Raises TrimformerError where a weight of the encoder is missing, left over or of another size; a missing task
        head is allowed (it starts random, as everywhere in transformers).
        """
        wants_info = kwargs.pop("output_loading_info", False)
        try:
            loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        except RuntimeError as error:
            if "size" not in str(error) and "shape" not in str(error):
                raise
            raise TrimformerError(
                f"The weights in {args[0]} do not fit the shape in its config.json: {_first_line(error)}"
            ) from error
        model, info = loaded
        prefix = f"{cls.base_model_prefix}."
        body = {k for k in info["missing_keys"] if k.startswith(prefix) or cls is TrimformerModel}
        if body or info["unexpected_keys"]:
            wrong = [f"{sorted(body)[0]} is missing"] if body else []
            # A body loaded from a checkpoint with a head leaves the head over; that is asked for, not an error.
            extra = [k for k in info["unexpected_keys"] if not (cls is TrimformerModel and k.startswith("head."))]
            wrong += [f"{sorted(extra)[0]} is not in the shape"] if extra else []
            if wrong:
                raise TrimformerError(
                    f"The weights in {args[0]} do not fit the shape in its config.json: {' and '.join(wrong)}; "
                    "use the config.json that was saved with these weights."
                )
        return (model, info) if wants_info else model


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "size" in line or "shape" in line]
    return lines[-1] if lines else str(error)


class TrimformerModel(TrimformerPreTrainedModel):
    """The body: token ids (batch, n) -> last hidden state (batch, n, hidden)."""

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.positions = mechanism_of(config)
        self.last_mixing = config.last_mixing
        layers = [
            PreNormLayer(config, shape, first=index == 0) if config.pre_norm else Layer(config, shape)
            for index, shape in enumerate(config.shapes)
        ]
        if config.sharing is not None:
            share(layers, config.sharing)
        self.layers = nn.ModuleList(layers)
        self.norm = layer_norm(config) if config.pre_norm else nn.Identity()
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        gates: Gates | None = None,
        output_hidden_states: bool = False,
        return_dict: Literal[True] = True,
        first_only: bool = False,
    ) -> BaseModelOutput:
        """Run the encoder.

        attention_mask: (batch, n), 1 = real token. gates: see :class:`Gates`. With ``output_hidden_states`` the
        embedding output and the output of each layer (of the last: after the final norm, where there is one) come
        back too, each (batch, n, hidden). return_dict: libraries that use bodies of all kinds, such as
        sentence-transformers, ask for it. first_only: only the first token's last hidden state is wanted, (batch, 1,
        hidden): after the last layer that mixes the tokens no other is computed. Not together with hidden states.
        """
        x = self.embeddings(input_ids, token_type_ids)
        shared = Shared(x, attention_mask, self.positions)
        trace = [x]
        last = self.last_mixing if first_only else len(self.layers)
        if last < 0:
            x = x[:, :1]
        for index, layer in enumerate(self.layers):
            x = layer(x, shared, None if gates is None else gates.layer(index), first_only=index == last)
            if output_hidden_states:
                trace.append(x)
        x = self.norm(x)
        return BaseModelOutput(last_hidden_state=x, hidden_states=(*trace[:-1], x) if output_hidden_states else None)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word
