"""An encoder rearranged for export: the same function, with fewer and larger matrix products.

Made on copies of the weights, before the graph is written:

- a ``mean`` layer becomes one product per sequence: W_OV = W_O W_V, b = W_O b_V + b_O (it has no bias or mask
  between the two maps, so they compose);
- the scale of the scores of a ``full`` layer, 1/sqrt(head size), goes into the query's weights; query, key and value
  stay three products, for one that is taken apart again takes longer under ONNX Runtime (docs/benchmarks.md);
- the padding mask is turned into its two forms (score bias, mean weights) once, not once per layer, and so are
  windows and relative biases; DeBERTa's position keys and queries, which depend on no input, become constants;
- the two inner maps of a gated feed-forward block become one product;
- a classifier that reads only the first token gets only that token computed from the last layer on that mixes
  tokens.

Tokens are kept in rows, (batch * n, hidden). Linear maps of rows export as Gemm, which holds its bias, and
ONNX Runtime then leaves Add and LayerNormalization apart; for three-dimensional tensors it fuses them into
SkipLayerNormalization, whose CPU kernel takes five times as long as the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoder import TrimformerModel, TrimformerWithHead
from ..encoder.model.body import Layer, PreNormLayer
from ..encoder.parts.attention import BiasAttention, ConvAttention, FullAttention, MeanAttention, NoAttention, near
from ..encoder.parts.positions import Disentangled, Mechanism, RelativeBias

# Added to the score of a padded key. Finite, so that a row of padding only gives numbers and not NaN.
PADDED_SCORE = -1e9


class Shared(NamedTuple):
    """What the layers of one pass share, made once.

    mask: (batch, n), 1 = real token. mean_weights: (batch, 1, n). biases: added to the scores of layers with this
    window, each (batch, 1 or heads, n or 1, n). state: of the mechanism of positions.
    """

    mask: Tensor
    mean_weights: Tensor
    biases: dict[int | None, Tensor]
    state: Any


class FoldedNone(nn.Module):
    """No attention sub-layer: nothing is added."""

    def forward(self, x: Tensor, shared: Shared) -> Tensor | None:
        return None


class FoldedBias(FoldedNone):
    """A ``bias`` layer: the same vector for every token, (batch, 1, hidden), or nothing."""

    def __init__(self, attention: BiasAttention) -> None:
        super().__init__()
        self.output = attention.output

    def forward(self, x: Tensor, shared: Shared) -> Tensor | None:
        given: Tensor | None = self.output(x)
        return given


class FoldedMean(FoldedNone):
    """A ``mean`` layer as one product per sequence: rows of (batch, n, hidden) -> (batch, 1, hidden)."""

    def __init__(self, attention: MeanAttention) -> None:
        super().__init__()
        w_value, w_output = attention.value.weight.double(), attention.output.weight.double()
        dtype = attention.value.weight.dtype
        self.weight = _constant((w_output @ w_value).to(dtype))
        self.bias = None
        if attention.value.bias is not None:  # the two maps have both a bias, or none
            self.bias = _constant((w_output @ attention.value.bias.double() + attention.output.bias.double()).to(dtype))

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        """x: (batch, n, hidden)"""
        mean = (shared.mean_weights @ x).squeeze(1)
        return F.linear(mean, self.weight, self.bias)[:, None]


class FoldedConv(FoldedMean):
    """A ``conv`` layer: the mean as above, and the convolution as it is (for the first token with ``first_only``)."""

    def __init__(self, attention: ConvAttention, first_only: bool) -> None:
        super().__init__(attention)
        self.conv, self.first_only = attention.conv, first_only
        self.reach = attention.conv.weight.shape[-1] // 2

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        mixed = super().forward(x, shared)
        if not self.first_only:
            return mixed + self.conv(x, shared.mask)
        # By index: a slice gives fewer rows of a short text than it says, which torch.export before 2.13 refuses.
        asked = torch.arange(self.reach + 1, device=x.device)
        rows = asked.clamp(max=x.shape[1] - 1)
        return mixed + self.conv(x[:, rows], shared.mask[:, rows] * (asked == rows))[:, :1]


class FoldedTables(nn.Module):
    """DeBERTa's position keys and queries of one layer, (1, heads, rows, head size), computed once for all.

    The keys meet a query that has the scale of the scores in it; the queries have it themselves.
    """

    def __init__(self, attention: FullAttention, table: Tensor) -> None:
        super().__init__()
        keys, queries = attention.relative.tables(attention, table)
        self.keys = None if keys is None else _constant(keys / attention.scale)
        self.queries = None if queries is None else _constant(queries)

    def tables(self, layer: nn.Module, table: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return self.keys, self.queries


class FoldedAttention(FoldedNone):
    """A ``full`` layer with the scale of its scores inside the query's map.

    mechanism: how positions enter (see encoder/parts/positions.py), where more is to be done than adding to the scores.
    first_only: attend from the first token only; the result is then (batch, 1, hidden) instead of (batch, n,
    hidden).
    """

    def __init__(self, attention: FullAttention, mechanism: Mechanism | None, first_only: bool) -> None:
        super().__init__()
        self.heads, self.head_size, self.first_only = attention.heads, attention.head_size, first_only
        self.query_key_size = attention.query_key_size
        self.window, self.rotary, self.mechanism = attention.window, attention.rotary, mechanism
        if isinstance(mechanism, Disentangled):
            self.relative = FoldedTables(attention, mechanism.normed_table())
        self.query = _linear(attention.query, attention.scale)
        self.key, self.value, self.output = attention.key, attention.value, attention.output

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        """x: (batch, n, hidden)"""
        score_bias = shared.biases[self.window]
        batch, hidden = x.shape[0], x.shape[2]
        rows = x.reshape(-1, hidden)

        def split(given: Tensor, size: int) -> Tensor:
            """Rows -> (batch, heads, n, size)"""
            return given.reshape(batch, -1, self.heads, size).transpose(1, 2)

        query = split(self.query(x[:, 0] if self.first_only else rows), self.query_key_size)
        key, value = split(self.key(rows), self.query_key_size), split(self.value(rows), self.head_size)
        if self.mechanism is not None:
            query, key, bias = self.mechanism.place(shared.state, self, query, key)
            score_bias = score_bias if bias is None else score_bias + bias
        if self.first_only:
            score_bias = score_bias[:, :, :1]
        probabilities = (query @ key.transpose(-1, -2) + score_bias).softmax(-1)
        context = (probabilities @ value).transpose(1, 2).reshape(-1, self.heads * self.head_size)
        return self.output(context).reshape(batch, -1, hidden)


class FoldedLayer(nn.Module):
    """One layer: (batch, n, hidden) -> (batch, n, hidden), or (batch, 1, hidden) with ``first_only``."""

    def __init__(self, layer: Layer, mechanism: Mechanism | None, first_only: bool) -> None:
        super().__init__()
        self.first_only = first_only
        self.attention = _folded(layer.attention, mechanism, first_only)
        self.layer = layer

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        x = self.add(x, self.attention(x, shared))
        batch, hidden = x.shape[0], x.shape[2]
        rows = self.layer.attention_norm(x.reshape(-1, hidden))
        if not self.layer.has_units:
            given = self.layer.ffn_out(x)
            y = rows.reshape(batch, -1, hidden)
            return self.layer.ffn_norm(y if given is None else y + given)
        ffn = self.layer.ffn_out(self.layer.activation(self.layer.ffn_in(rows)))
        return self.layer.ffn_norm(rows + ffn).reshape(batch, -1, hidden)

    def add(self, x: Tensor, mixed: Tensor | None) -> Tensor:
        """The residual sum, for the first token alone with ``first_only``."""
        if self.first_only:
            x = x[:, :1]
        return x if mixed is None else x + mixed


class FoldedPreNormLayer(FoldedLayer):
    """One layer with its norms before; the two inner maps of the gated feed-forward block are one product."""

    def __init__(self, layer: PreNormLayer, mechanism: Mechanism | None, first_only: bool) -> None:
        super().__init__(layer, mechanism, first_only)
        self.inner = _stacked([layer.ffn_in, layer.ffn_gate]) if layer.has_units else None

    def forward(self, x: Tensor, shared: Shared) -> Tensor:
        x = self.add(x, self.attention(self.layer.attention_norm(x), shared))
        if self.inner is None:
            given = self.layer.ffn_out(x)
            return x if given is None else x + given
        inner, gate = self.inner(self.layer.ffn_norm(x.reshape(-1, x.shape[2]))).chunk(2, -1)
        return x + self.layer.ffn_out(self.layer.activation(inner) * gate).reshape(x.shape)


class FoldedEncoder(nn.Module):
    """The model that is exported; input ids, mask and segments (batch, n) -> logits or last hidden state.

    It shares the weights that stay as they are with the model it was made from, which is not changed.
    """

    def __init__(self, model: TrimformerModel | TrimformerWithHead) -> None:
        super().__init__()
        body = model.encoder if isinstance(model, TrimformerWithHead) else model
        self.head = model.head if isinstance(model, TrimformerWithHead) else None
        # From this layer on only the first token is computed; before the first one, if no layer mixes the tokens.
        reads_first = isinstance(model, TrimformerWithHead) and model.reads_first(model.config)
        last = body.config.last_mixing if reads_first else len(body.layers)
        self.first_from_start = last < 0
        self.embeddings, self.norm = body.embeddings, body.norm
        self.positions: Mechanism | None = body.positions
        # The same bias in all layers is added to the padding's before the first one.
        in_layers = None if isinstance(self.positions, RelativeBias) else self.positions
        # Layers that share their weights become one module, so that the file holds it once.
        folded: dict[tuple[nn.Module, type, bool], FoldedLayer] = {}
        chosen = []
        for index, layer in enumerate(cast(Iterable[Any], body.layers)):
            key = (layer.ffn_out, type(layer.attention), index == last)
            if key not in folded:
                cls = FoldedPreNormLayer if isinstance(layer, PreNormLayer) else FoldedLayer
                folded[key] = cls(layer, in_layers, first_only=key[-1])
            chosen.append(folded[key])
        self.layers = nn.ModuleList(chosen)
        self.windows = {shape.window for shape in body.config.shapes if shape.attention == "full"}
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        x = self.embeddings(input_ids, token_type_ids)
        mask = attention_mask.to(x.dtype)
        mean_weights = (mask / mask.sum(1, keepdim=True).clamp(min=1))[:, None]
        score_bias = ((1 - mask) * PADDED_SCORE)[:, None, None]
        state: Any = None if self.positions is None else self.positions.prepare(x)
        if isinstance(self.positions, RelativeBias):
            score_bias = score_bias + state
        if self.first_from_start:
            x = x[:, :1]
        biases = {window: score_bias if window is None else _within(score_bias, window) for window in self.windows}
        shared = Shared(mask, mean_weights, biases, state)
        for layer in self.layers:
            x = layer(x, shared)
        x = self.norm(x)
        return x if self.head is None else self.head(x, attention_mask)


def _folded(attention: NoAttention, mechanism: Mechanism | None, first_only: bool) -> FoldedNone:
    if isinstance(attention, FullAttention):
        return FoldedAttention(attention, mechanism, first_only)
    if isinstance(attention, ConvAttention):
        return FoldedConv(attention, first_only)
    if isinstance(attention, MeanAttention):
        return FoldedMean(attention)
    return FoldedBias(attention) if isinstance(attention, BiasAttention) else FoldedNone()


def _within(score_bias: Tensor, window: int) -> Tensor:
    """The bias with what lies outside the window as far off as padding."""
    inside = near(score_bias.shape[-1], window, score_bias.device)
    return score_bias.masked_fill(~inside, PADDED_SCORE)


def _linear(linear: nn.Linear, scale: float) -> nn.Linear:
    """The map with its outputs multiplied by a number."""
    return _made(linear.weight * scale, None if linear.bias is None else linear.bias * scale)


def _stacked(linears: Sequence[nn.Linear]) -> nn.Linear:
    """Maps of the same input as one map with their outputs behind one another."""
    weight = torch.cat([linear.weight for linear in linears])
    return _made(weight, None if linears[0].bias is None else torch.cat([linear.bias for linear in linears]))


def _made(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    with torch.device("meta"):
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight = _constant(weight)
    if bias is not None:
        made.bias = _constant(bias)
    return made


def _constant(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)
