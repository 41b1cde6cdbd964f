"""Gates: what a method switches off while it learns, without touching the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .points import POINTS

PerLayer = Tensor | Sequence[Any] | None
"""One tensor for each layer, whose sizes may differ, or one whose first dimension counts the layers. In a list a layer
may have None: its gates are not given."""


class Values:
    """Values at gate points by name; a point that is not given is None. Raises TrimformerError for an unknown point."""

    removed: str

    def __init__(self, removed: str = "mean", **points: Any) -> None:
        self.removed = removed
        self.given = {name: value for name, value in points.items() if value is not None}
        for name in points:
            POINTS.find(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "given" or name not in POINTS:
            raise AttributeError(f"Unknown gate point {name!r}")
        return self.given.get(name)

    def __repr__(self) -> str:
        listed = "".join(f", {name}={value!r}" for name, value in self.given.items())
        return f"{type(self).__name__}(removed={self.removed!r}{listed})"

    def replace(self, **points: Any) -> Any:
        """The same with other values at some points."""
        return type(self)(**{"removed": self.removed, **self.given, **points})


class Gates(Values):
    """Values at the gate points of an encoder: 1 keeps, 0 removes, in between is soft.

    attention: shape (layers,). Layer l mixes tokens by ``g * attention + (1 - g) * what stands in for it``.
    removed: the attention kind that stands in. A layer that cannot become that kind is left as it is, whatever its
        gate.
    positions: shape (layers, batch, 1, n, n) or a sequence of (batch, 1, n, n), boolean or floating point; shared by
        all heads, or (1, heads, n, n), one for each head and the same for the batch. *Replace* semantics: the score of
        a removed position is replaced by a constant, not shifted, so that a query with no position left attends
        uniformly to all real tokens. Adding a constant would leave the softmax of such a row as it was
        (softmax(s + c) = softmax(s)). The score is the final one, with whatever positions add to it; in a layer with a
        window, all positions outside the window count as removed.
    contributions: as positions, floating point. A query's attention weights are multiplied by them and then brought to
        a sum of 1 again, so that equal factors change nothing. They are there to be learned and looked at: no
        attention kind can hold them.
    layers: shape (layers,). Layer l gives ``g * layer(x) + (1 - g) * x``.
    heads, values: for each layer (heads,) and (heads, head_size): factors of the heads' outputs before the output map,
        whose bias stays (Michel et al., 2019, section 2).
    query_key: for each layer (heads, query_key_size): factors of the terms that sum up to the scores; these are scaled
        as before.
    ffn: for each layer (units,): factors of the units of the feed-forward block; the bias of its output map stays.
    hidden: shape (hidden,). Factors of what embeddings and blocks add to the residual stream; a dimension whose gate is
        0 is 0 in all layers, and norms take their statistics over the others (Xia et al., 2022, section 3.1).
    inputs: for each layer (hidden,), or as many as it reads: factors of the dimensions of the layer's input, after a
        norm that comes first, where queries, keys and values read them. All layers can be given the same.
    operations: for each layer (operations,): factors of what the operations of its cell give to their nodes.
    tokens: for each layer (m,), however many: factors of the tokens' states between attention and the feed-forward
        block, by the rank of a token from the one that counts most on; those of a text of n tokens are shares of them
        (``encoder/parts/elimination.py``). They are there to be learned: what is left of the tokens is said by the
        shape. A layer in which nothing attends, or only the first token is computed, does not read them.

    To see what each text has to say of a gate, those of attention, heads and ffn may differ within the batch: (layers,
    batch, 1, 1), and for each layer (batch, 1, heads) and (batch, 1, units).

    Positions, contributions and query_key are those of layers with queries and keys and say nothing of others, nor do
    heads, values and inputs of layers without values. A gate that is not given costs nothing. Other points are those
    that parts declare (``encoder/shape/points.py``).
    """

    attention: Tensor | None
    positions: PerLayer
    contributions: PerLayer
    layers: Tensor | None
    heads: PerLayer
    values: PerLayer
    query_key: PerLayer
    ffn: PerLayer
    hidden: Tensor | None
    inputs: PerLayer
    operations: PerLayer
    tokens: PerLayer

    def layer(self, index: int) -> LayerGates:
        """The gates of one layer."""
        own = {name: value[index] if POINTS[name].per_layer else value for name, value in self.given.items()}
        return LayerGates(self.removed, **own)


class LayerGates(Values):
    """The gates of one layer: as in :class:`Gates`, without the dimension of the layers."""

    attention: Tensor | None
    positions: Tensor | None
    contributions: Tensor | None
    layers: Tensor | None
    heads: Tensor | None
    values: Tensor | None
    query_key: Tensor | None
    ffn: Tensor | None
    hidden: Tensor | None
    inputs: Tensor | None
    operations: Tensor | None
    tokens: Tensor | None

    def heads_alive(self) -> Tensor | None:
        """Which heads give anything, boolean (heads,) or (batch, heads); None: all."""
        heads = None if self.heads is None else self.heads != 0
        heads = heads if heads is None or heads.ndim == 1 else heads[:, 0]  # of each text by itself
        if self.values is None:
            return heads
        values = (self.values != 0).any(-1)
        return values if heads is None else values & heads

    def scale_values(self, x: Tensor, heads: int) -> Tensor:
        """Outputs of the heads, side by side, times their gates: (batch, n, heads * head_size) -> the same."""
        if self.heads is not None:
            x = (x.unflatten(-1, (heads, -1)) * self.heads[..., None].to(x.dtype)).flatten(-2)
        return x if self.values is None else x * self.values.flatten().to(x.dtype)

    def scale_units(self, x: Tensor) -> Tensor:
        """Units of the feed-forward block times their gates: (batch, n, units) -> the same."""
        return x if self.ffn is None else x * self.ffn.to(x.dtype)

    def scale_layer(self, y: Tensor, x: Tensor) -> Tensor:
        """What the layer makes of its input, and the input, each times its share: (batch, n, hidden) -> the same."""
        return y if self.layers is None or hard_value(self.layers) == 1 else self.layers * y + (1 - self.layers) * x


def hard_value(gate: Tensor | None) -> float | None:
    """0 or 1 where a scalar gate is just that and not learned, so that only one side need be computed; else None."""
    if gate is None or gate.requires_grad:
        return None
    value = gate.item()
    return value if value in (0, 1) else None
