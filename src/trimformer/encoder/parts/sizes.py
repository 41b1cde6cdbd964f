"""The sizes of a layer that its cost is counted from, whole numbers or expected ones."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..shape.config import LayerShape, TrimformerConfig
from ..shape.gates import LayerGates

Number = float | Tensor


@dataclasses.dataclass(frozen=True)
class Sizes:
    """values, queries: units of the values and of the queries. ffn: feed-forward units. hidden: hidden dimensions."""

    values: Number
    queries: Number
    ffn: Number
    hidden: Number


def sizes_of(config: TrimformerConfig, shape: LayerShape) -> Sizes:
    """The sizes of a layer as it is."""
    return Sizes(shape.width, shape.query_key_width, shape.ffn, config.hidden_size)


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
