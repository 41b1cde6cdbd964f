"""The sizes of a layer that its cost is counted from, whole numbers or expected ones."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..shape.config import LayerShape, TrimformerConfig
from ..shape.gates import LayerGates

Number = float | Tensor


class Inside(NamedTuple):
    """Sizes of a layer's attention as a table of the device asks for them, whole numbers or expected ones.

    heads. query_key: dimensions of a head's queries and keys. inputs: dimensions that are read; None: all.
    """

    heads: Number
    query_key: Number
    inputs: Number | None

    @classmethod
    def of(cls, shape: LayerShape) -> Inside:
        """Those of a layer as it is."""
        return cls(shape.heads, shape.query_key_size, None if shape.reads is None else len(shape.reads))


@dataclasses.dataclass(frozen=True)
class Sizes:
    """values, queries: units of the values and of the queries. ffn: feed-forward units. hidden: hidden dimensions.
    inputs: those of them that queries, keys and values read."""

    values: Number
    queries: Number
    ffn: Number
    hidden: Number
    inputs: Number


def sizes_of(config: TrimformerConfig, shape: LayerShape) -> Sizes:
    """The sizes of a layer as it is."""
    hidden = config.hidden_size
    return Sizes(shape.width, shape.query_key_width, shape.ffn, hidden, shape.input_size(hidden))


def expected_sizes(config: TrimformerConfig, shape: LayerShape, gates: LayerGates) -> Sizes:
    """Sizes of a layer where its parts are kept with these probabilities."""
    heads = torch.ones(shape.heads) if gates.heads is None else gates.heads
    values = torch.ones(shape.heads, shape.head_size) if gates.values is None else gates.values
    scores = torch.ones(shape.heads, shape.query_key_size) if gates.query_key is None else gates.query_key
    reads: Any = slice(None) if shape.reads is None else list(shape.reads)
    hidden = torch.ones(config.hidden_size) if gates.hidden is None else gates.hidden
    return Sizes(
        (heads[:, None] * values).sum(),
        (heads[:, None] * scores).sum(),
        shape.ffn if gates.ffn is None else gates.ffn.sum(),
        hidden.sum(),
        (hidden[reads] if gates.inputs is None else hidden[reads] * gates.inputs).sum(),
    )
