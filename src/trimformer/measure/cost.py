"""Cost from shapes alone: weights, bytes and floating-point operations.

Conventions: 2 operations per multiply-add; matrix products and convolutions only (table look-ups, biases, softmax,
LayerNorm and activations are not counted). A full attention layer costs 8nd² + 4n²d and a feed-forward block 4ndf for n
tokens, so BERT-base at n = 128 costs 22.35 G, which TinyBERT (Jiao et al., 2020, Table 1) prints as 22.5B.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ..encoder.config import DEFAULT_KERNEL, LayerShape, StandIn, TrimformerConfig, lesser
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
        float(layer_flops(config, shape, length, rows=computed))
        for shape, computed in zip(config.shapes, rows, strict=True)
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
            params += d * d + d * config.classifier_bias + d * (1 + config.norm_bias) * config.classifier_norm
            flops_of_vector += 2 * d * d
        flops += flops_of_vector * (1 if of_text else length)
    return Cost(params, params * bytes_per_weight, flops, length, layers)


def _own_params(config: TrimformerConfig) -> list[int]:
    """Weights of each layer that no earlier layer of its group has."""
    own, known = [], set()
    for index, group in enumerate(config.sharing or range(config.num_hidden_layers)):
        parts = _layer_params(config, index)
        own.append(sum(params for part, params in parts.items() if (group, part) not in known))
        known |= {(group, part) for part in parts}
    return own


def _layer_params(config: TrimformerConfig, index: int) -> dict[str, int]:
    """Weights of the parts of a layer; layers that share weights share those parts that both have."""
    shape, d = config.shapes[index], config.hidden_size
    norm = d * (1 + config.norm_bias)
    inner = 2 if config.pre_norm else 1
    parts = {"ffn": (inner + 1) * d * shape.ffn + (inner * shape.ffn + d) * config.ffn_bias + norm}
    if not config.pre_norm or (index > 0 and shape.attention != "none"):
        parts["attention norm"] = norm
    if shape.attention != "none":
        parts["values"] = 2 * d * shape.width + (shape.width + d) * config.attention_bias
    if shape.attention == "conv":
        parts["convolution"] = d * shape.kernel
    if shape.attention == "full":
        parts["scores"] = 2 * (d + config.attention_bias) * shape.width
        if config.attention_positions == "disentangled" and not config.relative_shares_weights:
            parts["scores"] += len(config.relative_terms or ()) * (d + 1) * shape.width
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


def attention_flops(config: TrimformerConfig, shape: LayerShape, n: int, rows: int | None = None) -> float:
    """Operations of the attention sub-layer for one sequence of n tokens, computed for the first ``rows`` (None: all).

    ``mean``: 2nd for the mean (taken as a product with the weights 1/n) and two products of one vector. ``conv``: that
    and 2ndk for a kernel of k. ``none``: nothing.
    A window saves nothing, for the products are computed in full and masked. Each product of DeBERTa (``c2p``,
    ``p2c``) with a table of r rows adds 2rd² for the table's projection, done once for a batch, and 2nrd.
    """
    d, rows = config.hidden_size, n if rows is None else rows
    if shape.attention == "none":
        return 0
    if shape.attention != "full":
        # The first token alone is computed from the tokens that the kernel reaches from there.
        reached = n if rows > 1 else min(n, shape.kernel // 2 + 1)
        return 2 * n * d + 4 * d * shape.width + 2 * reached * d * shape.kernel
    flops = 4 * (n + rows) * d * shape.width + 4 * rows * n * shape.width
    if config.attention_positions == "disentangled":
        for products in ({"c2p": rows, "p2c": n}[term] for term in config.relative_terms or ()):
            flops += 2 * _table_rows(config) * (d + products) * shape.width
    return flops


def layer_flops(
    config: TrimformerConfig,
    shape: LayerShape,
    n: int,
    gate: Number = 1.0,
    *,
    removed: StandIn = "mean",
    rows: int | None = None,
) -> Number:
    """Operations of a layer for one sequence, computed for the first ``rows`` tokens (None: all).

    With an attention gate in [0, 1] the expected operations, where ``removed`` stands in for the attention;
    differentiable in the gate: ``gate * full + (1 - gate) * mean + feed-forward``. A gated feed-forward block has
    three maps instead of two.
    """
    left = lesser(shape.attention, removed)
    kernel = 0 if left != "conv" else shape.kernel or DEFAULT_KERNEL
    stand_in = attention_flops(config, dataclasses.replace(shape, attention=left, kernel=kernel), n, rows)
    ffn = (6 if config.pre_norm else 4) * (n if rows is None else rows) * config.hidden_size * shape.ffn
    return ffn + gate * attention_flops(config, shape, n, rows) + (1 - gate) * stand_in


def expected_flops(
    config: TrimformerConfig, length: int, gates: Tensor | Sequence[float], removed: StandIn = "mean"
) -> Tensor:
    """Expected operations of the encoder layers when layer l keeps its attention with probability ``gates[l]``.

    All tokens of all layers count, for what a head that reads the first one saves depends on all gates together.
    """
    values = torch.as_tensor(gates)
    terms = [
        torch.as_tensor(layer_flops(config, shape, length, gate, removed=removed))
        for shape, gate in zip(config.shapes, values, strict=True)
    ]
    return torch.stack(terms).sum()
