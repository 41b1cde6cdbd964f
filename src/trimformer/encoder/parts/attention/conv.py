"""The mean, and a depthwise convolution of the layer's input over the tokens: it keeps local order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import ATTENTION
from ..exported import ExportedTokens
from ..linear.base import Number
from ..sizes import Inside, Sizes
from ..tokens import Tokens
from .base import VALUE_AXES, VALUE_MAPS, Attention, Times, make_values
from .mean import ExportedMean, MeanAttention

KERNELS = (3, 5, 7, 9)
DEFAULT_KERNEL = 5


@ATTENTION.add("conv")
class ConvAttention(Attention):
    """A ``mean`` layer to which a filter over neighbouring tokens is added, zero at its start."""

    kind = "conv"
    about = "replaced by the mean of the values and a convolution over neighbouring tokens"
    needs_a_value = True
    stands_in = True
    starts_as = "mean"
    becomes = ("mean", "bias", "none")
    made_from = ("full",)
    grown_from = ("mean",)
    starts = {"conv.weight": 0.0}  # noqa: RUF012  (never written to)
    maps = VALUE_MAPS
    axes = VALUE_AXES | {"conv": ("stream",)}

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__(config, shape)
        make_values(self, config, shape)
        self.conv = TokenConvolution(config.hidden_size, shape.kernel)

    def mix(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> Tensor:
        return self.instead_of(self, x, tokens, gates) + self.conv(x, tokens.attention_mask, tokens.asked)

    @classmethod
    def instead_of(cls, layer: Any, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        return MeanAttention.instead_of(layer, x, tokens, gates)

    @classmethod
    def named(cls, text: str) -> dict[str, Any] | None:
        """``conv7`` is one with a kernel of 7."""
        found = re.fullmatch(r"conv(\d*)", text)
        return None if found is None else {"kernel": int(found[1])} if found[1] else {}

    @classmethod
    def shaped(cls, shape: LayerShape, **fields: Any) -> LayerShape:
        kernel = fields.pop("kernel", shape.kernel or DEFAULT_KERNEL)
        if shape.kernel not in (0, kernel):
            raise TrimformerError(f"The layer has a kernel of {shape.kernel}: it cannot get one of {kernel}.")
        return super().shaped(shape, kernel=kernel, **fields)

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        if shape.kernel not in KERNELS:
            raise TrimformerError(f"A conv layer has a kernel of {', '.join(map(str, KERNELS))}, got {shape}.")

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes) -> dict[str, Number]:
        return super().params(config, shape, sizes) | {"convolution": sizes.hidden * shape.kernel}

    @classmethod
    def flops(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
        """That of the mean, and 2ndk for a kernel of k."""
        # The first token alone is computed from the tokens that the kernel reaches from there.
        reached = n if rows > 1 else min(n, shape.kernel // 2 + 1)
        return MeanAttention.flops(config, shape, sizes, n, rows) + 2 * reached * sizes.hidden * shape.kernel

    @classmethod
    def knots(cls, config: TrimformerConfig, plain: LayerShape) -> Iterator[tuple[str, int, LayerShape]]:
        for kernel in (KERNELS[0], KERNELS[-1]):
            yield cls.kind, kernel, cls.shaped(plain, kernel=kernel)

    @classmethod
    def milliseconds(cls, times: Times, shape: LayerShape, inside: Inside, place: str) -> Number:
        return times.time(f"{place}{cls.kind}", shape.kernel)

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedConv(self, first_only)


class TokenConvolution(nn.Module):
    """A filter over neighbouring tokens for each hidden dimension, zero at the start: (batch, n, hidden) -> the same.

    Padding counts as zero. asked: how many of the first tokens get a result.
    """

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden, 1, kernel))

    def forward(self, x: Tensor, attention_mask: Tensor | None, asked: int | None = None) -> Tensor:
        half = self.weight.shape[-1] // 2
        if asked is not None:
            x = x[:, : half + asked]
        if attention_mask is not None:
            x = x * attention_mask[:, : x.shape[1], None].to(x.dtype)
        # Seen as an image one pixel high, whose channels lie side by side, it meets the fast kernels; conv1d does not.
        image, weight = x.transpose(1, 2)[:, :, None], self.weight[:, :, None]
        mixed = F.conv2d(image, weight, padding=(0, half), groups=len(weight))[:, :, 0].transpose(1, 2)
        return mixed if asked is None else mixed[:, :asked]


class ExportedConv(ExportedMean):
    """The mean folded as in a ``mean`` layer, and the convolution as it is."""

    def __init__(self, attention: ConvAttention, first_only: bool) -> None:
        super().__init__(attention)
        self.conv, self.first_only = attention.conv, first_only
        self.reach = attention.conv.weight.shape[-1] // 2

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        mixed = super().forward(x, shared)
        if not self.first_only:
            return mixed + self.conv(x, shared.mask)
        # By index: a slice gives fewer rows of a short text than it says, which torch.export before 2.13 refuses.
        asked = torch.arange(self.reach + 1, device=x.device)
        rows = asked.clamp(max=x.shape[1] - 1)
        return mixed + self.conv(x[:, rows], shared.mask[:, rows] * (asked == rows))[:, :1]
