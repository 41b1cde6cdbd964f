"""Gates: what a method switches off while it learns, without touching the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from .config import StandIn

PerLayer = Tensor | Sequence[Tensor] | None
"""One tensor for each layer, whose sizes may differ, or one whose first dimension counts the layers."""


@dataclasses.dataclass(frozen=True)
class Gates:
    """Values at the gate points of an encoder: 1 keeps, 0 removes, in between is soft.

    attention: shape (layers,). Layer l mixes tokens by ``g * attention + (1 - g) * what stands in for it``.
    removed: what stands in: ``mean``: the mean of the values; ``none``: nothing; ``conv``: what a conv layer is at its
        start, which is the mean. A layer that has no more than that already is left as it is, whatever its gate.
    positions: shape (layers, batch, 1, n, n) or a sequence of (batch, 1, n, n), boolean or floating point; shared by
        all heads. *Replace* semantics: the score of a removed position is replaced by a constant, not shifted, so
        that a query with no position left attends uniformly to all real tokens. Adding a constant would leave the
        softmax of such a row as it was (softmax(s + c) = softmax(s)). The score is the final one, with whatever
        positions add to it; in a layer with a window, all positions outside the window count as removed.
    layers: shape (layers,). Layer l gives ``g * layer(x) + (1 - g) * x``.
    heads, values: for each layer (heads,) and (heads, head_size): factors of the heads' outputs before the output map,
        whose bias stays (Michel et al., 2019, section 2).
    query_key: for each layer (heads, query_key_size): factors of the terms that sum up to the scores; these are scaled
        as before.
    ffn: for each layer (units,): factors of the units of the feed-forward block; the bias of its output map stays.
    hidden: shape (hidden,). Factors of what embeddings and blocks add to the residual stream; a dimension whose gate is
        0 is 0 in all layers, and norms take their statistics over the others (Xia et al., 2022, section 3.1).

    To see what each text has to say of a gate, those of attention, heads and ffn may differ within the batch: (layers,
    batch, 1, 1), and for each layer (batch, 1, heads) and (batch, 1, units).

    Positions and query_key are those of ``full`` layers and say nothing of others, nor do heads and values of layers
    without values. A gate that is ``None`` costs nothing.
    """

    attention: Tensor | None = None
    positions: PerLayer = None
    removed: StandIn = "mean"
    layers: Tensor | None = None
    heads: PerLayer = None
    values: PerLayer = None
    query_key: PerLayer = None
    ffn: PerLayer = None
    hidden: Tensor | None = None

    def layer(self, index: int) -> LayerGates:
        """The gates of one layer."""
        own = {name: given[index] for name in PER_LAYER if (given := getattr(self, name)) is not None}
        return LayerGates(removed=self.removed, hidden=self.hidden, **own)


PER_LAYER = ("attention", "positions", "layers", "heads", "values", "query_key", "ffn")


@dataclasses.dataclass(frozen=True)
class LayerGates:
    """The gates of one layer: as in :class:`Gates`, without the dimension of the layers."""

    attention: Tensor | None = None
    positions: Tensor | None = None
    removed: StandIn = "mean"
    layers: Tensor | None = None
    heads: Tensor | None = None
    values: Tensor | None = None
    query_key: Tensor | None = None
    ffn: Tensor | None = None
    hidden: Tensor | None = None

    def scale_values(self, x: Tensor, heads: int) -> Tensor:
        """Outputs of the heads, side by side, times their gates: (batch, n, heads * head_size) -> the same."""
        if self.heads is not None:
            x = (x.unflatten(-1, (heads, -1)) * self.heads[..., None].to(x.dtype)).flatten(-2)
        return x if self.values is None else x * self.values.flatten().to(x.dtype)


def hard_value(gate: Tensor | None) -> float | None:
    """0 or 1 where a scalar gate is just that and not learned, so that only one side need be computed; else None."""
    if gate is None or gate.requires_grad:
        return None
    value = gate.item()
    return value if value in (0, 1) else None
