"""What every mechanism is by which positions enter attention, beyond what the embeddings know of them.

``__init__`` holds the weights that the layers share; ``prepare`` makes what the layers share, once per forward pass and
again where a layer has handed on fewer tokens, which keep their places in the text; ``place`` puts the positions into
the queries, keys and scores of one layer. The queries given to ``place`` are those of the first tokens, all of them or,
where only the first is asked for, that one alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ...shape.config import LayerShape, TrimformerConfig
from ...shape.kinds import ATTENTION, POSITIONS
from ..axes import Axes, Axis
from ..linear.base import Number
from ..sizes import Sizes


class Placed(Protocol):
    """What a mechanism reads of the attention layer that it works in."""

    rotary: float | None
    columns: tuple[int, ...] | None
    relative: Any


@POSITIONS.add("none")
class Mechanism(nn.Module):
    """No positions in attention: the outline of all mechanisms.

    only_scores: whether only queries and keys decide where a token attends. same_for_layers: whether what is
    added to the scores depends on no layer's queries and keys. by_token: whether the scores of a layer can be made anew
    from its queries and keys. keeps: the gate points that an encoder with it cannot lose, and why. axes: as those of
    attention.
    """

    only_scores: ClassVar[bool] = True
    same_for_layers: ClassVar[bool] = False
    by_token: ClassVar[bool] = True
    keeps: ClassVar[Mapping[str, str]] = {}
    axes: ClassVar[Mapping[str, Axes]] = {}

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__()

    def prepare(self, places: Tensor) -> Any:
        """What the layers share in one forward pass. places: of the tokens in their texts, int64 (1 or batch, n)."""
        return None

    def place(self, state: Any, layer: Placed, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries, keys (batch, heads, n, head size), and what is added to their scaled scores, if anything.

        state: what ``prepare`` returned.
        """
        return query, key, None

    @classmethod
    def projections(cls, config: TrimformerConfig, shape: LayerShape) -> nn.Module | None:
        """The weights that a layer has of its own for it."""
        return None

    @classmethod
    def products(cls, config: TrimformerConfig) -> int:
        """The products that are summed up to a score."""
        return 1

    @classmethod
    def params(cls, config: TrimformerConfig) -> int:
        """The weights that the layers share."""
        return 0

    @classmethod
    def layer_params(cls, config: TrimformerConfig, sizes: Sizes) -> Number:
        """The weights of :meth:`projections`."""
        return 0

    @classmethod
    def layer_flops(cls, config: TrimformerConfig, sizes: Sizes, n: int, rows: int) -> Number:
        """The operations that it adds in a layer, for n tokens of which the first ``rows`` are asked for."""
        return 0

    @classmethod
    def cut(
        cls, config: TrimformerConfig, shapes: Sequence[LayerShape]
    ) -> tuple[list[LayerShape], dict[str, Any], dict[str, Axis]]:
        """What is kept of its own weights for these layers: the layers, changed fields of the configuration, axes."""
        return list(shapes), {}, {}

    def exported(self, attention: Any) -> nn.Module | None:
        """What stands for a layer's :meth:`projections` in an exported graph."""
        return None


def mechanism_of(config: TrimformerConfig) -> Mechanism:
    """The mechanism of an encoder; none where no layer is left that attends."""
    attends = any(ATTENTION[shape.attention].attends for shape in config.shapes)
    found: Mechanism = POSITIONS[config.attention_positions if attends else "none"](config)
    return found


def distances(limit: int) -> Tensor:
    """-limit … limit; on the CPU also where a model is made without memory, since no file holds it."""
    return torch.arange(-limit, limit + 1, device="cpu")


def by_distance(values: Tensor, distance: Tensor) -> Tensor:
    """The entry of each distance in a list over -limit … limit; what lies farther counts as the limit.

    The list is made beforehand, because the logarithms of two runtimes differ in the last bit, which can move a bucket.
    """
    limit = len(values) // 2
    return values.to(distance.device)[distance.clamp(-limit, limit) + limit]


def query_minus_key(places: Tensor) -> Tensor:
    """(1 or batch, n) -> (1 or batch, n, n)"""
    return places[:, :, None] - places[:, None]
