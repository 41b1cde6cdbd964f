"""Gate points: the places of an encoder that can be switched off, each declared once.

A part reads the gates of its points in its forward pass and says in ``cut`` what becomes of its shape. Methods, cost
and tests take names, sizes and meaning from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ...registry import Registry
from .config import LayerShape, TrimformerConfig
from .kinds import LAYERS

Size = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class GatePoint:
    """name: under which gates are given. of: what the gates are of, for people. zero: what a gate of 0 means.

    size: of the gates of one layer, or of the whole encoder where ``per_layer`` is False. None: it depends on the
    batch, as that of positions does. soft: whether values between 0 and 1 can be trimmed, into the weights.
    """

    name: str
    of: str
    zero: str
    size: Callable[[TrimformerConfig, LayerShape], Size] | None
    per_layer: bool = True
    soft: bool = True

    @property
    def in_layers(self) -> bool:
        """Whether its gates cut the weights of each layer by itself, which layers that share weights cannot."""
        return self.per_layer and self.soft and self.size is not None

    def sizes(self, config: TrimformerConfig) -> list[Size]:
        """The size of each layer's gates, or that of the encoder's as the only one."""
        assert self.size is not None, f"the size of {self.name} gates depends on the batch"
        return [self.size(config, shape) for shape in (config.shapes if self.per_layer else config.shapes[:1])]


POINTS: Registry[GatePoint] = Registry("gate point", "trimformer.encoder.shape.points", "trimformer.gate_points")


def add(point: GatePoint) -> GatePoint:
    """Make a gate point known."""
    return POINTS.add(point.name)(point)


add(
    GatePoint(
        "attention", "the attention of the layers", "what stands in for the layer's attention is all that is left",
        lambda config, shape: (), soft=False,
    )
)  # fmt: skip
add(GatePoint("positions", "the positions", "the score of that query and key is replaced by a constant", None))
add(GatePoint("contributions", "the attention weights", "the query takes next to nothing from that key", None))
add(GatePoint("tokens", "the tokens by rank", "the state of the token of that rank is 0 behind attention", None))
add(GatePoint("layers", "the layers", "the whole layer is left out", lambda config, shape: (), soft=False))
add(
    GatePoint(
        "heads", "the heads", "the head gives nothing; the bias of the output map stays",
        lambda config, shape: (shape.heads,),
    )
)  # fmt: skip
add(
    GatePoint(
        "values", "the values", "one dimension of a head's output is 0",
        lambda config, shape: (shape.heads, shape.head_size),
    )
)  # fmt: skip
add(
    GatePoint(
        "query_key", "the queries and keys", "one term of the products of queries and keys is left out",
        lambda config, shape: (shape.heads, shape.query_key_size),
    )
)  # fmt: skip
add(GatePoint("ffn", "the units", "the unit of the feed-forward block is 0", lambda config, shape: (shape.ffn,)))
add(
    GatePoint(
        "hidden", "the hidden dimensions", "the dimension is 0 in all layers; norms count the others alone",
        lambda config, shape: (config.hidden_size,), per_layer=False,
    )
)  # fmt: skip
add(
    GatePoint(
        "inputs", "the input dimensions", "queries, keys and values do not read that dimension of the layer's input",
        lambda config, shape: (shape.input_size(config.hidden_size),),
    )
)  # fmt: skip
add(
    GatePoint(
        "operations", "the operations", "a node of the layer's cell does not read what the operation gives",
        lambda config, shape: (LAYERS[config.layer_kind].count_operations(shape),), soft=False,
    )
)  # fmt: skip
