"""The body of the one encoder: a Transformer in which every layer has its own shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from ...errors import TrimformerError
from ..parts.attention import ATTENTION, OutputBias, Shared
from ..parts.positions import mechanism_of
from ..parts.trace import BodyOutput
from ..shape.config import MIXING, LayerShape, TrimformerConfig
from ..shape.gates import Gates, LayerGates, hard_value


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
        self.factorised = config.embedding_size is not None  # then the tables have dimensions of their own
        self.projection = nn.Linear(width, config.hidden_size) if self.factorised else nn.Identity()

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None, hidden: Tensor | None = None) -> Tensor:
        """hidden: gates of the hidden dimensions."""
        if not self.factorised:
            return self.dropout(self.look_up(input_ids, token_type_ids, hidden))
        return scaled(self.projection(self.dropout(self.look_up(input_ids, token_type_ids))), hidden)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """The embeddings without dropout."""
        x: Tensor = self.projection(self.look_up(input_ids, token_type_ids))
        return x

    def look_up(self, input_ids: Tensor, token_type_ids: Tensor | None, hidden: Tensor | None = None) -> Tensor:
        """The normalised sum of the tables' rows, as wide as the tables."""
        x = self.word(input_ids)
        if self.position is not None:
            x = x + self.position(self.number(input_ids))
        if self.segment is not None:
            # A segment that nobody names is segment 0, whose row is broadcast instead of being looked up n times.
            x = x + (self.segment.weight[0] if token_type_ids is None else self.segment(token_type_ids))
        return normed(self.norm, scaled(x, hidden), hidden)

    def number(self, input_ids: Tensor) -> Tensor:
        """The position of each token, as (batch, n) or (1, n)."""
        if self.from_padding:
            real = input_ids.ne(self.pad_token_id).long()
            return real.cumsum(1) * real + self.pad_token_id
        return torch.arange(input_ids.shape[1], device=input_ids.device)[None]


def layer_norm(config: TrimformerConfig, width: int | None = None) -> nn.LayerNorm:
    return nn.LayerNorm(width or config.hidden_size, eps=config.layer_norm_eps, bias=config.norm_bias)


def scaled(x: Tensor, hidden: Tensor | None) -> Tensor:
    """Times the gates of the hidden dimensions."""
    return x if hidden is None else x * hidden.to(x.dtype)


def normed(norm: nn.Module, x: Tensor, hidden: Tensor | None) -> Tensor:
    """A norm over the hidden dimensions whose gates are not 0; the others are 0 before and after."""
    if hidden is None or not isinstance(norm, nn.LayerNorm):
        found: Tensor = norm(x)
        return found
    keep = (hidden != 0).to(x.dtype)
    count = keep.sum()
    centred = (x - x.sum(-1, keepdim=True) / count) * keep  # the others are 0 in the sum
    y = centred * torch.rsqrt(centred.square().sum(-1, keepdim=True) / count + norm.eps) * norm.weight
    return y if norm.bias is None else y + norm.bias * keep


class Layer(nn.Module):
    """One post-LayerNorm layer: y = LN(x + Attention(x)); LN(y + FFN(y)).

    ``first_only``: the result for the first token, (batch, 1, hidden), of an input with all tokens.
    """

    inner: ClassVar[tuple[str, ...]] = ("ffn_in",)
    """The maps to the units of the feed-forward block."""
    ffn_in: nn.Linear
    ffn_gate: nn.Linear

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__()
        self.attention = ATTENTION[shape.attention](config, shape)
        self.attention_norm: nn.Module = layer_norm(config)
        self.has_units = shape.ffn > 0
        for name in self.inner if self.has_units else ():
            self.add_module(name, nn.Linear(config.hidden_size, shape.ffn, bias=config.ffn_bias))
        self.ffn_out: nn.Module = (
            nn.Linear(shape.ffn, config.hidden_size, bias=config.ffn_bias)
            if self.has_units
            else OutputBias(config.hidden_size, config.ffn_bias)
        )
        self.ffn_norm = layer_norm(config)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool = False) -> Tensor:
        gate = None if gates is None else gates.layers
        hard = hard_value(gate)
        kept = x[:, :1] if first_only else x
        if hard == 0:
            return kept
        y = self.run(x, kept, shared, gates, first_only)
        return y if gate is None or hard == 1 else gate * y + (1 - gate) * kept

    def run(self, x: Tensor, kept: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool) -> Tensor:
        """The layer itself. kept: of the input what the result is for."""
        hidden = None if gates is None else gates.hidden
        y = add(kept, self.attention(x, shared, gates, first_only), self.dropout, hidden)
        y = normed(self.attention_norm, y, hidden)
        return normed(self.ffn_norm, add(y, self.feed_forward(y, gates), self.dropout, hidden), hidden)

    def feed_forward(self, x: Tensor, gates: LayerGates | None) -> Tensor | None:
        """What the block adds, None where nothing is left of it."""
        if self.has_units:
            x = self.units(x)
            if gates is not None and gates.ffn is not None:
                x = x * gates.ffn.to(x.dtype)
        found: Tensor | None = self.ffn_out(x)
        return found

    def units(self, x: Tensor) -> Tensor:
        """The units of the block, (batch, n, ffn)."""
        found: Tensor = self.activation(self.ffn_in(x))
        return found


class PreNormLayer(Layer):
    """One layer of ModernBERT: y = x + Attention(LN(x)); y + FFN(LN(y)), the FFN gated (GLU: Shazeer, 2020).

    The first layer has no norm before its attention, for the embeddings end with one; nor has one whose attention reads
    nothing.
    """

    inner = ("ffn_in", "ffn_gate")

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool) -> None:
        super().__init__(config, shape)
        if first or shape.attention not in MIXING:
            self.attention_norm = nn.Identity()
        self.attention_dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def run(self, x: Tensor, kept: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool) -> Tensor:
        hidden = None if gates is None else gates.hidden
        mixed = self.attention(normed(self.attention_norm, x, hidden), shared, gates, first_only)
        y = add(kept, mixed, self.attention_dropout, hidden)
        given = self.feed_forward(normed(self.ffn_norm, y, hidden), gates)
        return y if given is None else y + scaled(given, hidden)

    def units(self, x: Tensor) -> Tensor:
        found: Tensor = self.dropout(self.activation(self.ffn_in(x)) * self.ffn_gate(x))
        return found


def add(x: Tensor, given: Tensor | None, dropout: nn.Module, hidden: Tensor | None) -> Tensor:
    """The residual sum; nothing is added where nothing is left of a block."""
    return x if given is None else x + scaled(dropout(given), hidden)


def share(layers: Iterable[Layer], groups: Sequence[int]) -> None:
    """Let layers of the same group hold the same modules; the first that has a module gives it to the others.

    A ``mean`` layer has no query and key, so that those of its group may belong to a later layer; and so on.
    """
    owners: dict[tuple[int, str, type], nn.Module] = {}
    for layer, group in zip(layers, groups, strict=True):
        for name, module in list(layer.named_modules()):
            if next(module.children(), None) is None and next(module.parameters(), None) is not None:
                layer.set_submodule(name, owners.setdefault((group, name, type(module)), module))


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
        output_trace: bool = False,
    ) -> BodyOutput:
        """Run the encoder.

        attention_mask: (batch, n), 1 = real token. gates: see :class:`Gates`. With ``output_hidden_states`` the
        embedding output and the output of each layer (of the last: after the final norm, where there is one) come
        back too, each (batch, n, hidden). return_dict: libraries that use bodies of all kinds, such as
        sentence-transformers, ask for it. first_only: only the first token's last hidden state is wanted, (batch, 1,
        hidden): after the last layer that mixes the tokens no other is computed. Not together with hidden states or
        trace. output_trace: the trace comes back too, an :class:`AttentionTrace` or None for each layer.
        """
        hidden = None if gates is None else gates.hidden
        x = self.embeddings(input_ids, token_type_ids, hidden)
        shared = Shared(x, attention_mask, self.positions, traced=output_trace)
        states = [x]
        last = self.last_mixing if first_only else len(self.layers)
        if last < 0:
            x = x[:, :1]
        for index, layer in enumerate(self.layers):
            x = layer(x, shared, None if gates is None else gates.layer(index), first_only=index == last)
            if output_hidden_states:
                states.append(x)
        x = normed(self.norm, x, hidden)
        return BodyOutput(
            last_hidden_state=x,
            hidden_states=(*states[:-1], x) if output_hidden_states else None,
            trace=None if shared.trace is None else tuple(shared.trace.get(layer.attention) for layer in self.layers),
        )

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word
