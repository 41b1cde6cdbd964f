"""The body of the one encoder: a Transformer in which every layer has its own shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput

from ..errors import TrimformerError
from .config import LayerShape, TrimformerConfig
from .gates import Gates, LayerGates
from .positions import Mechanism, RelativeProjections, mechanism_of

# Score of a removed position. Any finite constant makes a fully removed row uniform; it must only lie far below
# every real score, and above the minus infinity of padded keys so that padding stays strictly lower than "removed".
REMOVED_SCORE = -1e4


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


class MeanAttention(nn.Module):
    """A removed attention layer: W_O (W_V mean(x) + b_V) + b_O, one vector per sequence (AttendOut, Eq. 3).

    The mean over real tokens commutes with the linear maps, so it is taken first; the result (batch, 1, hidden) is
    broadcast by the residual sum and no work is done per token except the mean itself.
    """

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__()
        self.value = nn.Linear(config.hidden_size, shape.width, bias=config.attention_bias)
        self.output = nn.Linear(shape.width, config.hidden_size, bias=config.attention_bias)

    def forward(self, x: Tensor, shared: Shared, gates: LayerGates | None = None) -> Tensor:
        return self.mean_values(x, shared)

    def mean_values(self, x: Tensor, shared: Shared) -> Tensor:
        return self.output(self.value(shared.mean_weights(x) @ x))


class FullAttention(MeanAttention):
    """Multi-head self-attention: (batch, n, hidden) -> (batch, n, hidden).

    With an attention gate the output is ``g * attention + (1 - g) * mean``; a hard gate computes only its own side.
    """

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__(config, shape)
        self.heads, self.head_size = shape.heads, shape.head_size
        self.window, self.rotary = shape.window, shape.rotary
        self.dropout = float(config.attention_probs_dropout_prob)
        self.query = nn.Linear(config.hidden_size, shape.width, bias=config.attention_bias)
        self.key = nn.Linear(config.hidden_size, shape.width, bias=config.attention_bias)
        products = 1
        if config.attention_positions == "disentangled":
            self.relative = RelativeProjections(config, shape)
            products += len(self.relative.terms)
        self.scale = (self.head_size * products) ** -0.5

    def forward(self, x: Tensor, shared: Shared, gates: LayerGates | None = None) -> Tensor:
        if gates is None or gates.attention is None:
            return self.attend(x, shared, None if gates is None else gates.positions)
        gate = gates.attention
        if not gate.requires_grad:
            hard = gate.item()
            if hard == 0:
                return self.mean_values(x, shared)
            if hard == 1:
                return self.attend(x, shared, gates.positions)
        return gate * self.attend(x, shared, gates.positions) + (1 - gate) * self.mean_values(x, shared)

    def attend(self, x: Tensor, shared: Shared, positions: Tensor | None) -> Tensor:
        query, key, value = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        query, key, bias = shared.place(self, query, key)
        dropout = self.dropout if self.training else 0.0
        if positions is None:
            mask = shared.mask(query, bias, self.window)
            context = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout, scale=self.scale)
        else:
            scores = query @ key.transpose(-1, -2) * self.scale
            if bias is not None:
                scores = scores + bias
            if self.window is not None:
                # Outside the window is removed, not padding: with nothing left inside, the mean is over all tokens.
                positions = positions * near(x.shape[1], self.window, x.device)
            scores = replace_removed(scores, positions)
            if shared.keys is not None:
                scores = scores.masked_fill(~shared.keys, -torch.inf)
            probabilities = F.dropout(scores.softmax(-1).to(value.dtype), dropout, training=self.training)
            context = probabilities @ value
        return self.output(context.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        """(batch, n, width) -> (batch, heads, n, head_size)"""
        return x.unflatten(-1, (self.heads, self.head_size)).transpose(1, 2)


def layer_norm(config: TrimformerConfig, width: int | None = None) -> nn.LayerNorm:
    return nn.LayerNorm(width or config.hidden_size, eps=config.layer_norm_eps, bias=config.norm_bias)


def replace_removed(scores: Tensor, positions: Tensor) -> Tensor:
    """Scores with removed positions *replaced* by a constant; ``positions`` broadcasts over the heads."""
    if positions.dtype == torch.bool:
        return scores.masked_fill(~positions, REMOVED_SCORE)
    return scores * positions + REMOVED_SCORE * (1 - positions)


def near(n: int, window: int, device: torch.device) -> Tensor:
    """(n, n) boolean: the pairs of tokens at most ``window // 2`` apart."""
    positions = torch.arange(n, device=device)
    return (positions[:, None] - positions).abs() <= window // 2


class Shared:
    """What the layers of one forward pass share, made once: which tokens are real, and where they are.

    keys: (batch, 1, 1, n) boolean, or None when no token is padding as far as is known. x: the input of the first
    layer, (batch, n, hidden).
    """

    def __init__(self, x: Tensor, attention_mask: Tensor | None, mechanism: Mechanism | None = None) -> None:
        self.attention_mask = attention_mask
        self.keys = None if attention_mask is None else attention_mask[:, None, None, :].bool()
        self.weights: Tensor | None = None
        self.mechanism = mechanism
        self.state = None if mechanism is None else mechanism.prepare(x)
        self.masks: dict[int | None, Tensor | None] = {}

    def mean_weights(self, x: Tensor) -> Tensor:
        """(batch, 1, n): 1 / number of real tokens on real tokens, 0 on padding."""
        if self.weights is None:
            mask = x.new_ones(x.shape[:2]) if self.attention_mask is None else self.attention_mask.to(x.dtype)
            self.weights = (mask / mask.sum(1, keepdim=True).clamp(min=1))[:, None]  # numbers for a row of padding too
        return self.weights

    def place(self, layer: FullAttention, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries and keys with their positions in them, and what these add to the scores, if anything."""
        return (query, key, None) if self.mechanism is None else self.mechanism.place(self.state, layer, query, key)

    def mask(self, query: Tensor, bias: Tensor | None, window: int | None) -> Tensor | None:
        """What SDPA takes: a boolean mask, or the bias with minus infinity where a token is not attended; or None."""
        if bias is not None and bias is not self.state:  # of this layer alone
            return self._mask(query, bias, window)
        if window not in self.masks:
            self.masks[window] = self._mask(query, bias, window)
        return self.masks[window]

    def _mask(self, query: Tensor, bias: Tensor | None, window: int | None) -> Tensor | None:
        allowed, n = self.keys, query.shape[-2]
        if window is not None:
            allowed = near(n, window, query.device)
            if self.keys is not None:
                # Padding far from all real tokens attends to itself: a row without any key would be NaN.
                allowed = allowed & self.keys | torch.eye(n, dtype=torch.bool, device=query.device)
        if bias is None:
            return allowed
        bias = bias.to(query.dtype)
        return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)


ATTENTION: dict[str, type[MeanAttention]] = {"full": FullAttention, "mean": MeanAttention}


class Layer(nn.Module):
    """One post-LayerNorm layer: y = LN(x + Attention(x)); LN(y + FFN(y))."""

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__()
        self.attention = ATTENTION[shape.attention](config, shape)
        self.attention_norm: nn.Module = layer_norm(config)
        self.ffn_in = nn.Linear(config.hidden_size, shape.ffn, bias=config.ffn_bias)
        self.ffn_out = nn.Linear(shape.ffn, config.hidden_size, bias=config.ffn_bias)
        self.ffn_norm = layer_norm(config)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, shared: Shared, gates: LayerGates | None) -> Tensor:
        x = self.attention_norm(x + self.dropout(self.attention(x, shared, gates)))
        return self.ffn_norm(x + self.dropout(self.ffn_out(self.activation(self.ffn_in(x)))))


class PreNormLayer(Layer):
    """One layer of ModernBERT: y = x + Attention(LN(x)); y + FFN(LN(y)), the FFN gated (GLU: Shazeer, 2020).

    The first layer has no norm before its attention, for the embeddings end with one.
    """

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool) -> None:
        super().__init__(config, shape)
        if first:
            self.attention_norm = nn.Identity()
        self.attention_dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.ffn_gate = nn.Linear(config.hidden_size, shape.ffn, bias=config.ffn_bias)

    def forward(self, x: Tensor, shared: Shared, gates: LayerGates | None) -> Tensor:
        x = x + self.attention_dropout(self.attention(self.attention_norm(x), shared, gates))
        y = self.ffn_norm(x)
        return x + self.ffn_out(self.dropout(self.activation(self.ffn_in(y)) * self.ffn_gate(y)))


def share(layers: Iterable[Layer], groups: Sequence[int]) -> None:
    """Let layers of the same group hold the same modules; the first that has a module gives it to the others.

    A ``mean`` layer has no query and key, so that those of its group may belong to a later layer.
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
    ) -> BaseModelOutput:
        """Run the encoder.

        attention_mask: (batch, n), 1 = real token. gates: see :class:`Gates`. With ``output_hidden_states`` the
        embedding output and the output of each layer (of the last: after the final norm, where there is one) come
        back too, each (batch, n, hidden). return_dict: libraries that use bodies of all kinds, such as
        sentence-transformers, ask for it.
        """
        x = self.embeddings(input_ids, token_type_ids)
        shared = Shared(x, attention_mask, self.positions)
        trace = [x]
        for index, layer in enumerate(self.layers):
            x = layer(x, shared, None if gates is None else gates.layer(index))
            if output_hidden_states:
                trace.append(x)
        x = self.norm(x)
        return BaseModelOutput(last_hidden_state=x, hidden_states=(*trace[:-1], x) if output_hidden_states else None)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word
