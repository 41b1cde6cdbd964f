"""Cost from shapes alone: weights, bytes and floating-point operations.

Conventions: 2 operations per multiply-add; matrix products only (table look-ups, biases, softmax, LayerNorm and
activations are not counted). A full attention layer costs 8nd² + 4n²d and a feed-forward block 4ndf for n tokens, so
BERT-base at n = 128 costs 22.35 G, which TinyBERT (Jiao et al., 2020, Table 1) prints as 22.5B.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ..encoder.config import LayerShape, TrimformerConfig
from ..encoder.heads import TrimformerForQuestionAnswering, TrimformerForSequenceClassification, TrimformerWithHead
from ..encoder.modeling import TrimformerModel

Number = float | Tensor


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """params: weights. flops: operations for one sequence."""

    params: int
    flops: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """params: weights. bytes: weights in the given precision. flops: operations for one sequence of ``length`` tokens.

    layers: the share of each encoder layer; embeddings and head make up the rest.
    """

    params: int
    bytes: int
    flops: float
    length: int
    layers: tuple[LayerCost, ...]


def cost(
    model: TrimformerModel | TrimformerWithHead | TrimformerConfig,
    length: int = 128,
    *,
    head: type[TrimformerWithHead] | None = None,
    bytes_per_weight: int = 4,
) -> Cost:
    """Cost of a model, or of a configuration (``head``: the model class whose head belongs to it)."""
    config = model if isinstance(model, TrimformerConfig) else model.config
    if isinstance(model, TrimformerWithHead):
        head = type(model)
    d = config.hidden_size
    layers = tuple(LayerCost(_layer_params(s, d), float(layer_flops(s, d, length))) for s in config.shapes)
    embedding_rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    width = config.embedding_size or d
    params = embedding_rows * width + 2 * width + sum(layer.params for layer in layers)
    flops = sum(layer.flops for layer in layers)
    if config.embedding_size is not None:
        params += width * d + d
        flops += 2 * length * width * d
    if head is not None:
        outputs = 2 if head is TrimformerForQuestionAnswering else len(config.label_names)
        params += d * outputs + outputs
        flops += 2 * d * outputs * (1 if head is TrimformerForSequenceClassification else length)
    if head is TrimformerForSequenceClassification:
        params += d * d + d
        flops += 2 * d * d
    return Cost(params, params * bytes_per_weight, flops, length, layers)


def _layer_params(shape: LayerShape, d: int) -> int:
    width = shape.width
    attention = (d * width + width) * (3 if shape.attention == "full" else 1) + width * d + d
    return attention + d * shape.ffn + shape.ffn + shape.ffn * d + d + 4 * d


def attention_flops(shape: LayerShape, d: int, n: int) -> float:
    """Operations of the attention sub-layer for one sequence of n tokens.

    ``mean``: 2nd for the mean (taken as a product with the weights 1/n) and two products of one vector.
    """
    if shape.attention == "full":
        return 8 * n * d * shape.width + 4 * n * n * shape.width
    return 2 * n * d + 4 * d * shape.width


def layer_flops(shape: LayerShape, d: int, n: int, gate: Number = 1.0) -> Number:
    """Operations of a layer for one sequence; with an attention gate in [0, 1] the expected operations.

    Differentiable in the gate: ``gate * full + (1 - gate) * mean + feed-forward``.
    """
    mean = attention_flops(dataclasses.replace(shape, attention="mean"), d, n)
    return 4 * n * d * shape.ffn + gate * attention_flops(shape, d, n) + (1 - gate) * mean


def expected_flops(config: TrimformerConfig, length: int, gates: Tensor | Sequence[float]) -> Tensor:
    """Expected operations of the encoder layers when layer l keeps its attention with probability ``gates[l]``."""
    values = torch.as_tensor(gates)
    terms = [
        torch.as_tensor(layer_flops(shape, config.hidden_size, length, gate))
        for shape, gate in zip(config.shapes, values, strict=True)
    ]
    return torch.stack(terms).sum()
