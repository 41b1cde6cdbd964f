"""Fixed attention by distance, without queries and keys: hard-coded Gaussian attention (You, Sun and Iyyer, 2020).

A head looks at the token before, at the token itself or at the one after: token i gives token j the weight
exp(-(j - i - offset)² / 2), cut off more than three places from what the head looks at. The weights of real tokens are
divided by their sum, so that padding changes nothing. Values and output map are those of attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import ATTENTION
from ..exported import ExportedTokens
from ..linear.base import Number, flops
from ..linear.dense import constant
from ..sizes import Sizes
from ..tokens import Tokens
from .base import VALUE_AXES, VALUE_MAPS, Attention, give, make_values

OFFSETS = "offsets"
"""Where each head looks: -1, 0 or 1."""
TAIL = 3
"""The distance, in standard deviations, up to which a token has a weight."""
REACH = TAIL + 1
KERNEL = 2 * REACH + 1
WEIGHTS = {
    offset: [
        math.exp(-((place - offset) ** 2) / 2) if abs(place - offset) <= TAIL else 0.0
        for place in range(-REACH, REACH + 1)
    ]
    for offset in (-1, 0, 1)
}
"""By offset the weights of the tokens from ``REACH`` before to ``REACH`` after."""
# Far from all real tokens the weights of padding sum up to 0. Any real token has itself within reach.
LEAST_SUM = 1e-3


@ATTENTION.add("gaussian")
class GaussianAttention(Attention):
    """Every head gives a mean of the values near a fixed offset: a convolution over the tokens, (batch, n, hidden)."""

    kind = "gaussian"
    about = "replaced by fixed attention to the nearest tokens, without queries and keys"
    stands_in = True
    becomes = ("mean", "bias", "none")
    made_from = ("full",)
    settings = (OFFSETS,)
    maps = VALUE_MAPS
    axes = VALUE_AXES

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__(config, shape)
        make_values(self, config, shape)
        self.head_size, self.offsets = shape.head_size, tuple(shape.own[OFFSETS])

    def mix(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> Tensor:
        return _given(self, self.offsets, x, tokens, gates)

    @classmethod
    def instead_of(cls, layer: Any, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        return _given(layer, in_turn(layer.heads), x, tokens, gates)

    @classmethod
    def shaped(cls, shape: LayerShape, **fields: Any) -> LayerShape:
        own = shape.own if shape.attention == cls.kind else {OFFSETS: in_turn(shape.heads)}
        return super().shaped(shape, **{"own": own} | fields)

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        super().check(shape)
        offsets = shape.own.get(OFFSETS, [])
        if len(offsets) != shape.heads or not set(offsets) <= set(WEIGHTS):
            raise TrimformerError(
                f"A {cls.kind} layer has for each of its {shape.heads} heads an offset of "
                f"{', '.join(map(str, WEIGHTS))}, got {offsets}."
            )

    @classmethod
    def own_of(cls, shape: LayerShape, heads: Sequence[int]) -> dict[str, Any]:
        return {OFFSETS: [shape.own[OFFSETS][head] for head in heads]}

    @classmethod
    def flops(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
        """4nd² for the maps, and 2n(d + heads)k for a kernel of k = 9 over values and mask, with d units of values."""
        reached = min(n, rows + REACH)  # the first token alone is computed from those within reach
        value = flops(shape, "attention.value", sizes.inputs, sizes.values)
        output = flops(shape, "attention.output", sizes.values, sizes.hidden)
        channels = sizes.values + sizes.values / shape.head_size
        return reached * (value + 2 * channels * KERNEL) + rows * output

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedGaussian(self, first_only)


def in_turn(heads: int) -> list[int]:
    """The offsets of heads that are not given any."""
    return [list(WEIGHTS)[head % len(WEIGHTS)] for head in range(heads)]


def of_heads(offsets: Sequence[int], like: Tensor) -> Tensor:
    """The weights by which heads mean the tokens around them: (heads, 1, 1, 9), of the type of another tensor."""
    return like.new_tensor([WEIGHTS[offset] for offset in offsets])[:, None, None]


def near_means(values: Tensor, mask: Tensor, heads: Tensor, units: Tensor) -> Tensor:
    """Means of the values of real tokens near by: (batch, n, units), mask (batch, n) -> (batch, n, units).

    heads, units: the weights of each head, and of each unit that of its head.
    """
    real = mask[..., None].to(values.dtype)
    sums = _convolved(values * real, units, groups=len(units))
    weights = _convolved(real, heads).clamp(min=LEAST_SUM)
    return (sums.unflatten(-1, (len(heads), -1)) / weights[..., None]).flatten(2)


def _convolved(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """(batch, n, channels) -> (batch, n, len(weight))"""
    # Seen as an image one pixel high, whose channels lie side by side, it meets the fast kernels; conv1d does not.
    return F.conv2d(x.transpose(1, 2)[:, :, None], weight, padding=(0, REACH), groups=groups)[:, :, 0].transpose(1, 2)


def _given(layer: Any, offsets: Sequence[int], x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
    """What the value and output maps of a layer give where its heads look at these offsets."""
    near = x if tokens.asked is None else x[:, : tokens.asked + REACH]
    values = layer.value(layer.inputs(near, gates))
    mask = near.new_ones(near.shape[:2]) if tokens.attention_mask is None else tokens.attention_mask[:, : near.shape[1]]
    heads = of_heads(offsets, values)
    units = heads.repeat_interleave(values.shape[-1] // len(offsets), 0)
    return give(layer, tokens.of(near_means(values, mask, heads, units)), gates)


class ExportedGaussian(nn.Module):
    """The same convolution over the values, with a constant kernel. first_only: for the first token alone."""

    def __init__(self, attention: GaussianAttention, first_only: bool) -> None:
        super().__init__()
        self.value, self.output, self.first_only = attention.value, attention.output, first_only
        self.inputs = attention.inputs
        heads = of_heads(attention.offsets, next(attention.value.parameters()))
        self.heads = constant(heads)
        self.units = constant(heads.repeat_interleave(attention.head_size, 0))

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        mask = shared.mask
        if self.first_only:
            # By index: a slice gives fewer rows of a short text than it says, which torch.export before 2.13 refuses.
            asked = torch.arange(REACH + 1, device=x.device)
            rows = asked.clamp(max=x.shape[1] - 1)
            x, mask = x[:, rows], mask[:, rows] * (asked == rows)
        batch, hidden = x.shape[0], x.shape[2]
        x = self.inputs(x)
        values = self.value(x.reshape(-1, x.shape[2])).reshape(batch, -1, len(self.units))
        context = near_means(values, mask, self.heads, self.units)
        if self.first_only:
            context = context[:, :1]
        given: Tensor = self.output(context.reshape(-1, len(self.units))).reshape(batch, -1, hidden)
        return given
