"""An encoder of several widths and depths at once: channel-wise interpolation, as TAS has it.

Dong and Yang, "Network Pruning via Transformable Architecture Search", 2019, section 3.1. Of a layer with c of its
heads or units the first c are there. Answers of different widths are summed after each was brought to the widest of
them by adaptive average pooling over the heads or the units; those of different depths have the same width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...encoder.shape.gates import Gates, LayerGates


class Drawn(NamedTuple):
    """Sizes of one part of the encoder, and the weight of each, (sizes,)."""

    sizes: Sequence[int]
    weights: Tensor


def draw(logits: Tensor, sizes: Sequence[int], temperature: float) -> Drawn:
    """Two of the sizes without replacement, in proportion to softmax(logits); the weights have a gradient.

    Gumbel noise is added to the log-probabilities, and both are divided by the temperature; the weights are the softmax
    of the two largest.
    """
    u = torch.rand_like(logits).clamp(1e-9, 1 - 1e-7)
    noisy = (logits.log_softmax(0) - torch.log(-torch.log(u))) / temperature
    chosen = noisy.topk(min(2, len(noisy)))
    return Drawn([sizes[index] for index in chosen.indices.tolist()], chosen.values.softmax(0))


def one(size: int) -> Drawn:
    """This size alone."""
    return Drawn([size], torch.ones(1))


def interpolated(x: Tensor, drawn: Drawn) -> Tensor:
    """Σ w CWI(the first c of x, the largest c), and zeros behind it: (…, channels) -> the same."""
    widest = max(drawn.sizes)
    total = sum(w.to(x.dtype) * _pooled(x[..., :size], widest) for size, w in zip(*drawn, strict=True))
    assert isinstance(total, Tensor)  # at least one size is drawn
    return F.pad(total, (0, x.shape[-1] - widest))


def _pooled(x: Tensor, channels: int) -> Tensor:
    """Output t is the mean of the inputs from ⌊t c / C⌋ to ⌈(t + 1) c / C⌉ - 1: (…, c) -> (…, C)."""
    if x.shape[-1] == channels:
        return x
    return F.adaptive_avg_pool1d(x.flatten(0, -2), channels).unflatten(0, x.shape[:-1])


class Widths(Gates):
    """Gates that say how many heads and units of each layer, and how many layers, are there; None: all.

    An object is for one pass after the other: between the layers it keeps what the shallower depth gives.
    """

    def __init__(
        self, heads: Sequence[Drawn | None], units: Sequence[Drawn | None], depth: Drawn | None = None
    ) -> None:
        super().__init__()
        self.widths, self.depth = list(zip(heads, units, strict=True)), depth
        self.shallow: Tensor | None = None

    def layer(self, index: int) -> LayerGates:
        return LayerWidths(self, index)


class LayerWidths(LayerGates):
    """Those of one layer."""

    def __init__(self, whole: Widths, index: int) -> None:
        depth = whole.depth
        super().__init__(layers=torch.zeros(()) if depth is not None and index >= max(depth.sizes) else None)
        self.whole, self.index = whole, index
        self.of_heads, self.of_units = whole.widths[index]

    def scale_values(self, x: Tensor, heads: int) -> Tensor:
        if self.of_heads is None:
            return x
        by_head = x.unflatten(-1, (heads, -1)).transpose(-1, -2)
        return interpolated(by_head, self.of_heads).transpose(-1, -2).flatten(-2)

    def scale_units(self, x: Tensor) -> Tensor:
        return x if self.of_units is None else interpolated(x, self.of_units)

    def scale_layer(self, y: Tensor, x: Tensor) -> Tensor:
        depth = self.whole.depth
        if depth is None or len(depth.sizes) == 1 or self.index + 1 not in depth.sizes:
            return y
        if self.index + 1 == min(depth.sizes):
            self.whole.shallow = y
            return y
        assert self.whole.shallow is not None  # its layer comes first
        weights = dict(zip(depth.sizes, depth.weights.to(y.dtype), strict=True))
        shallow, deep = sorted(weights)
        return weights[shallow] * self.whole.shallow[:, : y.shape[1]] + weights[deep] * y
