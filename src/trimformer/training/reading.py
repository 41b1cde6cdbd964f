"""What a term of an objective reads of a teacher's pass, by token: for the cache of its answers."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.kinds import ATTENTION, POSITIONS
from ..errors import TrimformerError


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read of each token: ``hidden``, the state of an index, or ``query``, ``key``, ``value`` of a layer."""

    name: str
    index: int
    shape: tuple[int, ...]

    @property
    def is_state(self) -> bool:
        return self.name == "hidden"

    @property
    def file(self) -> str:
        return f"{self.name}-{self.index}"

    def of(self, out: Any) -> Tensor:
        """This part of a model's output, (batch, n, *shape)."""
        if self.is_state:
            return out.hidden_states[self.index]
        return getattr(out.trace[self.index], self.name).transpose(1, 2)


def state(model: TrimformerConfig, index: int) -> Reading:
    """The hidden state of an index: 0 is the output of the embeddings, ``i + 1`` that of layer i."""
    return Reading("hidden", index, (model.hidden_size,))


def vectors(model: TrimformerConfig, layer: int, name: str) -> Reading:
    """What a layer that attends has of each token and head: its ``query``, ``key`` or ``value``.

    Raises TrimformerError where no attention of its own but the layer itself attends.
    """
    shape = model.shapes[layer]
    if not ATTENTION[shape.attention].attends:
        raise TrimformerError(
            f"The cache cannot hold the queries, keys and values of {model.layer_kind} layers: switch `cache` off."
        )
    return Reading(name, layer, (shape.heads, shape.head_size if name == "value" else shape.query_key_size))


def scores(model: TrimformerConfig, layer: int) -> set[Reading]:
    """What the attention scores of a layer are made of; raises TrimformerError where that is not kept by token."""
    if not POSITIONS[model.attention_positions].by_token:
        raise TrimformerError(
            f"The cache cannot hold the attention scores of a {model.family} teacher, to which each pair of tokens "
            "adds a term: switch `cache` off."
        )
    return {vectors(model, layer, name) for name in ("query", "key")}
