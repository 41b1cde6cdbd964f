"""Cost from shapes alone: weights, bytes and floating-point operations.

Conventions: 2 operations per multiply-add; matrix products and convolutions only (table look-ups, biases, softmax,
LayerNorm and activations are not counted). A full attention layer costs 8nd² + 4n²d and a feed-forward block 4ndf for n
tokens, so BERT-base at n = 128 costs 22.35 G, which TinyBERT (Jiao et al., 2020, Table 1) prints as 22.5B.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ..encoder.model.body import TrimformerModel
from ..encoder.model.heads import (
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerWithHead,
)
from ..encoder.shape.config import DEFAULT_KERNEL, MIXING, LayerShape, StandIn, TrimformerConfig, lesser
from ..encoder.shape.gates import Gates, LayerGates

Number = float | Tensor


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """params: weights; what layers share counts in the first that has it. flops: operations for one sequence."""

    params: int
    flops: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """params: weights. bytes: weights in the given precision. flops: operations for one sequence of ``length`` tokens.

    layers: the share of each encoder layer; embeddings and head make up the rest. Under a head that reads the first
    token only, the layers after the last one that mixes tokens are computed for that token alone.
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
    rows = [length] * config.num_hidden_layers
    if head is not None and head.reads_first(config):
        rows = [length if index < config.last_mixing else 1 for index in range(config.num_hidden_layers)]
    flops_of = [
        float(attention_flops(config, shape, sizes, length, computed) + ffn_flops(config, sizes, computed))
        for shape, computed in zip(config.shapes, rows, strict=True)
        if (sizes := sizes_of(config, shape))
    ]
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
            width = config.classifier_size or d
            params += (width - d) * outputs + d * width + width * config.classifier_bias
            params += width * (1 + config.norm_bias) * config.classifier_norm
            flops_of_vector = 2 * d * width + 2 * width * outputs
        flops += flops_of_vector * (1 if of_text else length)
    return Cost(params, params * bytes_per_weight, flops, length, layers)


def _own_params(config: TrimformerConfig) -> list[int]:
    """Weights of each layer that no earlier layer of its group has."""
    own: list[int] = []
    known: set[tuple[int, str]] = set()
    for index, group in enumerate(config.sharing or range(config.num_hidden_layers)):
        shape = config.shapes[index]
        parts = _layer_params(config, index, shape, sizes_of(config, shape))
        own.append(int(sum(params for part, params in parts.items() if (group, part) not in known)))
        known |= {(group, part) for part in parts}
    return own


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of a layer, whole numbers or expected ones: units of the values and of the queries, feed-forward units,
    hidden dimensions."""

    values: Number
    queries: Number
    ffn: Number
    hidden: Number


def sizes_of(config: TrimformerConfig, shape: LayerShape) -> Sizes:
    return Sizes(shape.width, shape.query_key_width, shape.ffn, config.hidden_size)


def _layer_params(config: TrimformerConfig, index: int, shape: LayerShape, sizes: Sizes) -> dict[str, Number]:
    """Weights of the parts of a layer; layers that share weights share those parts that both have."""
    d = sizes.hidden
    norm = d * (1 + config.norm_bias)
    inner = 2 if config.pre_norm else 1
    parts = {"ffn": (inner + 1) * d * sizes.ffn + (inner * sizes.ffn + d) * config.ffn_bias + norm}
    if not config.pre_norm or (index > 0 and shape.attention in MIXING):
        parts["attention norm"] = norm
    if shape.attention == "bias":
        parts["bias"] = d * config.attention_bias
    if shape.attention in MIXING:
        parts["values"] = 2 * d * sizes.values + (sizes.values + d) * config.attention_bias
    if shape.attention == "conv":
        parts["convolution"] = d * shape.kernel
    if shape.attention == "full":
        parts["scores"] = 2 * (d + config.attention_bias) * sizes.queries
        if config.attention_positions == "disentangled" and not config.relative_shares_weights:
            parts["scores"] += len(config.relative_terms or ()) * (config.hidden_size + 1) * sizes.queries
    return parts


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


def attention_flops(config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
    """Operations of the attention sub-layer for one sequence of n tokens, computed for the first ``rows``.

    ``mean``: 2nd for the mean (taken as a product with the weights 1/n) and two products of one vector. ``conv``: that
    and 2ndk for a kernel of k. ``bias``, ``none``: nothing.
    A window saves nothing, for the products are computed in full and masked. Each product of DeBERTa (``c2p``,
    ``p2c``) with a table of r rows adds 2rd² for the table's projection, done once for a batch, and 2nrd.
    """
    d = sizes.hidden
    if shape.attention not in MIXING:
        return 0
    if shape.attention != "full":
        # The first token alone is computed from the tokens that the kernel reaches from there.
        reached = n if rows > 1 else min(n, shape.kernel // 2 + 1)
        return 2 * n * d + 4 * d * sizes.values + 2 * reached * d * shape.kernel
    flops = 2 * ((n + rows) * d + rows * n) * (sizes.values + sizes.queries)
    if config.attention_positions == "disentangled":
        for products in ({"c2p": rows, "p2c": n}[term] for term in config.relative_terms or ()):
            flops += 2 * _table_rows(config) * (config.hidden_size + products) * sizes.queries
    return flops


def ffn_flops(config: TrimformerConfig, sizes: Sizes, rows: int) -> Number:
    """Operations of the feed-forward block for so many tokens; a gated block has three maps instead of two."""
    return (6 if config.pre_norm else 4) * rows * sizes.hidden * sizes.ffn


def _stand_in(shape: LayerShape, removed: StandIn) -> LayerShape:
    """What is left of a layer without its attention."""
    left = lesser(shape.attention, removed)
    kernel = 0 if left != "conv" else shape.kernel or DEFAULT_KERNEL
    return dataclasses.replace(shape, attention=left, kernel=kernel)


def expected_flops(config: TrimformerConfig, length: int, gates: Gates) -> Tensor:
    """Expected operations of the encoder layers where gates are kept with these probabilities, independently.

    Differentiable; at hard gates that of the trimmed encoder. All tokens of all layers count, for what a head that
    reads the first one saves depends on all gates together. Positions are not seen.
    """

    def flops(index: int, shape: LayerShape, sizes: Sizes) -> Number:
        return attention_flops(config, shape, sizes, length, length) + ffn_flops(config, sizes, length)

    return _expected(config, gates, flops)


def expected_params(config: TrimformerConfig, gates: Gates) -> Tensor:
    """Expected weights of the encoder layers, as :func:`expected_flops`; layers that share weights count each."""

    def params(index: int, shape: LayerShape, sizes: Sizes) -> Number:
        return sum(_layer_params(config, index, shape, sizes).values())

    return _expected(config, gates, params)


def _expected(config: TrimformerConfig, gates: Gates, count: Callable[[int, LayerShape, Sizes], Number]) -> Tensor:
    total = torch.zeros(())
    for index, shape in enumerate(config.shapes):
        own, sizes = gates.layer(index), expected_sizes(config, shape, gates.layer(index))
        counted = torch.as_tensor(count(index, shape, sizes))
        if own.attention is not None:
            left = torch.as_tensor(count(index, _stand_in(shape, gates.removed), sizes))
            counted = own.attention * counted + (1 - own.attention) * left
        total = total + (counted if own.layers is None else own.layers * counted)
    return total


def expected_sizes(config: TrimformerConfig, shape: LayerShape, gates: LayerGates) -> Sizes:
    """Sizes of a layer where its parts are kept with these probabilities."""
    heads = torch.ones(shape.heads) if gates.heads is None else gates.heads
    values = torch.ones(shape.heads, shape.head_size) if gates.values is None else gates.values
    scores = torch.ones(shape.heads, shape.query_key_size) if gates.query_key is None else gates.query_key
    return Sizes(
        (heads[:, None] * values).sum(),
        (heads[:, None] * scores).sum(),
        shape.ffn if gates.ffn is None else gates.ffn.sum(),
        config.hidden_size if gates.hidden is None else gates.hidden.sum(),
    )
