"""Gates: what a method switches off while it learns, without touching the model."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from .config import StandIn


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

    Positions are those of ``full`` layers and say nothing of others. A gate that is ``None`` costs nothing.
    """

    attention: Tensor | None = None
    positions: Tensor | list[Tensor] | None = None
    removed: StandIn = "mean"

    def layer(self, index: int) -> LayerGates:
        """The gates of one layer."""
        return LayerGates(
            attention=None if self.attention is None else self.attention[index],
            positions=None if self.positions is None else self.positions[index],
            removed=self.removed,
        )


@dataclasses.dataclass(frozen=True)
class LayerGates:
    """The gates of one layer: ``attention`` is a scalar, ``positions`` has shape (batch, 1, n, n)."""

    attention: Tensor | None = None
    positions: Tensor | None = None
    removed: StandIn = "mean"
