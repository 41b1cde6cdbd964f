"""An encoder rearranged for export: the same function, with fewer and larger matrix products.

Made on copies of the weights, before the graph is written:

- a ``mean`` layer becomes one product per sequence: W_OV = W_O W_V, b = W_O b_V + b_O (it has no bias or mask
  between the two maps, so they compose);
- query, key and value of a ``full`` layer become one product, with the 1/sqrt(head size) inside the query's
  weights;
- the padding mask is turned into its two forms (score bias, mean weights) once, not once per layer;
- a classifier reads only the first token of the last layer, so only that token is computed there.

Tokens are kept in rows, (batch * n, hidden). Linear maps of rows export as Gemm, which holds its bias, and
ONNX Runtime then leaves Add and LayerNormalization apart; for three-dimensional tensors it fuses them into
SkipLayerNormalization, whose CPU kernel takes five times as long as the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoder import TrimformerForSequenceClassification, TrimformerModel, TrimformerWithHead
from ..encoder.modeling import FullAttention, Layer, MeanAttention

# Added to the score of a padded key. Finite, so that a row of padding only gives numbers and not NaN.
PADDED_SCORE = -1e9


class FoldedMean(nn.Module):
    """A ``mean`` layer as one product per sequence: rows of (batch, n, hidden) -> (batch, 1, hidden)."""

    def __init__(self, attention: MeanAttention) -> None:
        super().__init__()
        w_value, w_output = attention.value.weight.double(), attention.output.weight.double()
        bias = w_output @ attention.value.bias.double() + attention.output.bias.double()
        self.weight = _constant((w_output @ w_value).to(attention.value.weight.dtype))
        self.bias = _constant(bias.to(attention.value.bias.dtype))

    def forward(self, x: Tensor, mean_weights: Tensor) -> Tensor:
        """x: (batch, n, hidden); mean_weights: (batch, 1, n)."""
        mean = (mean_weights @ x).squeeze(1)
        return F.linear(mean, self.weight, self.bias)[:, None]


class FusedAttention(nn.Module):
    """A ``full`` layer with query, key and value in one product.

    first_only: attend from the first token only; the result is then (batch, 1, hidden) instead of (batch, n,
    hidden).
    """

    def __init__(self, attention: FullAttention, first_only: bool) -> None:
        super().__init__()
        self.heads, self.head_size, self.first_only = attention.heads, attention.head_size, first_only
        scale = attention.head_size**-0.5
        query = (attention.query.weight * scale, attention.query.bias * scale)
        key_value = [(part.weight, part.bias) for part in (attention.key, attention.value)]
        parts = [query, *key_value] if not first_only else key_value
        self.weight = _constant(torch.cat([weight for weight, _ in parts]))
        self.bias = _constant(torch.cat([bias for _, bias in parts]))
        if first_only:
            self.query_weight, self.query_bias = _constant(query[0]), _constant(query[1])
        self.output = attention.output

    def forward(self, x: Tensor, score_bias: Tensor) -> Tensor:
        """x: (batch, n, hidden); score_bias: (batch, 1, 1, n), added to the scores."""
        batch, hidden = x.shape[0], x.shape[2]
        rows = F.linear(x.reshape(-1, hidden), self.weight, self.bias)
        heads = rows.reshape(batch, -1, 2 if self.first_only else 3, self.heads, self.head_size)
        *first, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        query = first[0] if first else self.first_query(x)
        probabilities = (query @ key.transpose(-1, -2) + score_bias).softmax(-1)
        context = (probabilities @ value).transpose(1, 2).reshape(-1, self.heads * self.head_size)
        return self.output(context).reshape(batch, -1, hidden)

    def first_query(self, x: Tensor) -> Tensor:
        query = F.linear(x[:, 0], self.query_weight, self.query_bias)
        return query.reshape(-1, self.heads, 1, self.head_size)


class FoldedLayer(nn.Module):
    """One layer: (batch, n, hidden) -> (batch, n, hidden), or (batch, 1, hidden) with ``first_only``."""

    def __init__(self, layer: Layer, first_only: bool) -> None:
        super().__init__()
        self.full = isinstance(layer.attention, FullAttention)
        self.first_only = first_only
        self.attention: nn.Module = (
            FusedAttention(layer.attention, first_only)
            if isinstance(layer.attention, FullAttention)
            else FoldedMean(layer.attention)
        )
        self.layer = layer

    def forward(self, x: Tensor, score_bias: Tensor, mean_weights: Tensor) -> Tensor:
        batch, hidden = x.shape[0], x.shape[2]
        mixed = self.attention(x, score_bias if self.full else mean_weights)
        if self.first_only:
            x = x[:, :1]
        rows = self.layer.attention_norm((x + mixed).reshape(-1, hidden))
        ffn = self.layer.ffn_out(self.layer.activation(self.layer.ffn_in(rows)))
        return self.layer.ffn_norm(rows + ffn).reshape(batch, -1, hidden)


class FoldedEncoder(nn.Module):
    """The model that is exported; input ids, mask and segments (batch, n) -> logits or last hidden state.

    It shares the weights that stay as they are with the model it was made from, which is not changed.
    """

    def __init__(self, model: TrimformerModel | TrimformerWithHead) -> None:
        super().__init__()
        body = model.encoder if isinstance(model, TrimformerWithHead) else model
        self.head = model.head if isinstance(model, TrimformerWithHead) else None
        reads_first = isinstance(model, TrimformerForSequenceClassification)
        self.embeddings = body.embeddings
        layers = cast(Iterable[Layer], body.layers)
        last = len(body.layers) - 1
        self.layers = nn.ModuleList(
            FoldedLayer(layer, first_only=reads_first and index == last) for index, layer in enumerate(layers)
        )
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        x = self.embeddings(input_ids, token_type_ids)
        mask = attention_mask.to(x.dtype)
        score_bias = ((1 - mask) * PADDED_SCORE)[:, None, None]
        mean_weights = (mask / mask.sum(1, keepdim=True))[:, None]
        for layer in self.layers:
            x = layer(x, score_bias, mean_weights)
        return x if self.head is None else self.head(x)


def _constant(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)
