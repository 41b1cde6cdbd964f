"""Windows with a soft edge, whose widths are learned by the gradient.

Sukhbaatar, Grave, Bojanowski and Joulin, "Adaptive Attention Span in Transformers", 2019, section 2: a key at the
distance x counts by m_z(x) = clip((R + z - x) / R, 0, 1), where z is the span of a head and R the width of the edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROUNDING = 1e-4
"""Of a token: by so little a span may be above a whole number for no more than rounding."""


class HeadSpans(nn.Module):
    """The span of each head, in tokens from 0 to ``largest``, where all start.

    heads: how many each set has. A span is learned as a share of the largest, so that one learning rate fits texts of
    any length.
    """

    def __init__(self, heads: Sequence[int], largest: int) -> None:
        super().__init__()
        self.largest = largest
        self.shares = nn.ParameterList(torch.ones(count) for count in heads)

    def forward(self) -> list[Tensor]:
        """In tokens, (heads,) of each set."""
        return [self.largest * share for share in self.shares]

    @torch.no_grad()
    def clamp(self) -> None:
        for share in self.shares:
            share.clamp_(0, 1)

    @torch.no_grad()
    def whole(self) -> list[Tensor]:
        """Rounded up to whole tokens, on the CPU."""
        return [torch.ceil(span.cpu() - ROUNDING).clamp(min=0) for span in self()]


def soft_windows(spans: Tensor, ramp: float, n: int, first: int) -> Tensor:
    """m_z(|i - j|) of each head for texts of n tokens: (heads,) -> (heads, n, n).

    first: so many first tokens attend to all and are attended by all. With whole spans and a ramp of 1 all are 0 or 1.
    """
    places = torch.arange(n, device=spans.device)
    distance = (places[:, None] - places).abs()
    factors = ((ramp + spans[:, None, None] - distance) / ramp).clamp(0, 1)
    dense = places < first
    return factors.masked_fill(dense | dense[:, None], 1.0)
