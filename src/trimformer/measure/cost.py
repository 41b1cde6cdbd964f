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
    """params: weights; what layers share counts in the first that has it. flops: operations for one sequence."""

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
    flops_of = [float(layer_flops(config, shape, length)) for shape in config.shapes]
    layers = tuple(LayerCost(params, flops) for params, flops in zip(_own_params(config), flops_of, strict=True))
    position_rows = 0 if config.positions == "none" else config.max_position_embeddings
    embedding_rows = config.vocab_size + position_rows + config.type_vocab_size
    width = config.embedding_size or d
    norms = (width + d * config.pre_norm) * (1 + config.norm_bias)  # after the embeddings, after the last layer
    params = embedding_rows * width + norms + _table_params(config) + sum(layer.params for layer in layers)
    flops = sum(layer.flops for layer in layers)
    if config.embedding_size is not None:
        params += width * d + d
        flops += 2 * length * width * d
    if head is not None:
        of_text = head is TrimformerForSequenceClassification
        outputs = 2 if head is TrimformerForQuestionAnswering else len(config.label_names)
        params += d * outputs + outputs
        flops_of_vector = 2 * d * outputs
        if of_text or config.classifier_norm:
            params += d * d + d * config.classifier_bias + d * (1 + config.norm_bias) * config.classifier_norm
            flops_of_vector += 2 * d * d
        flops += flops_of_vector * (1 if of_text else length)
    return Cost(params, params * bytes_per_weight, flops, length, layers)


def _own_params(config: TrimformerConfig) -> list[int]:
    """Weights of each layer that no earlier layer of its group has.

    The weights of a ``mean`` layer are among those of a ``full`` one, so a group has as many as its largest layer.
    """
    own, so_far = [], dict.fromkeys(range(config.num_hidden_layers), 0)
    for index, group in enumerate(config.sharing or range(config.num_hidden_layers)):
        params = _layer_params(config, index)
        own.append(max(0, params - so_far[group]))
        so_far[group] += own[-1]
    return own


def _layer_params(config: TrimformerConfig, index: int) -> int:
    shape, d = config.shapes[index], config.hidden_size
    maps = 3 if shape.attention == "full" else 1
    attention = (maps + 1) * d * shape.width + (maps * shape.width + d) * config.attention_bias
    if shape.attention == "full" and config.attention_positions == "disentangled":
        attention += 0 if config.relative_shares_weights else len(config.relative_terms or ()) * (d + 1) * shape.width
    inner = 2 if config.pre_norm else 1
    ffn = (inner + 1) * d * shape.ffn + (inner * shape.ffn + d) * config.ffn_bias
    norms = 1 if config.pre_norm and index == 0 else 2
    return attention + ffn + norms * d * (1 + config.norm_bias)


def _table_rows(config: TrimformerConfig) -> int:
    """Rows of the table of relative positions that the attending layers share."""
    if not any(shape.attention == "full" for shape in config.shapes):
        return 0
    if config.attention_positions == "disentangled":
        return 2 * (config.relative_buckets or config.relative_span)
    return config.relative_buckets if config.attention_positions == "relative_bias" else 0


def _table_params(config: TrimformerConfig) -> int:
    rows = _table_rows(config)
    if config.attention_positions == "relative_bias":
        return rows * max(shape.heads for shape in config.shapes)
    return rows * config.hidden_size + (2 * config.hidden_size if rows and config.relative_norm else 0)


def attention_flops(config: TrimformerConfig, shape: LayerShape, n: int) -> float:
    """Operations of the attention sub-layer for one sequence of n tokens.

    ``mean``: 2nd for the mean (taken as a product with the weights 1/n) and two products of one vector.
    A window saves nothing, for the products are computed in full and masked. Each product of DeBERTa (``c2p``,
    ``p2c``) with a table of r rows adds 2rd² for the table's projection, done once for a batch, and 2nrd.
    """
    d = config.hidden_size
    if shape.attention == "mean":
        return 2 * n * d + 4 * d * shape.width
    flops = 8 * n * d * shape.width + 4 * n * n * shape.width
    if config.attention_positions == "disentangled":
        flops += len(config.relative_terms or ()) * 2 * _table_rows(config) * (d + n) * shape.width
    return flops


def layer_flops(config: TrimformerConfig, shape: LayerShape, n: int, gate: Number = 1.0) -> Number:
    """Operations of a layer for one sequence; with an attention gate in [0, 1] the expected operations.

    Differentiable in the gate: ``gate * full + (1 - gate) * mean + feed-forward``. A gated feed-forward block has
    three maps instead of two.
    """
    mean = attention_flops(config, dataclasses.replace(shape, attention="mean"), n)
    ffn = (6 if config.pre_norm else 4) * n * config.hidden_size * shape.ffn
    return ffn + gate * attention_flops(config, shape, n) + (1 - gate) * mean


def expected_flops(config: TrimformerConfig, length: int, gates: Tensor | Sequence[float]) -> Tensor:
    """Expected operations of the encoder layers when layer l keeps its attention with probability ``gates[l]``."""
    values = torch.as_tensor(gates)
    terms = [
        torch.as_tensor(layer_flops(config, shape, length, gate))
        for shape, gate in zip(config.shapes, values, strict=True)
    ]
    return torch.stack(terms).sum()
