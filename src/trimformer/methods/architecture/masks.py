"""Masks of dimensions with a logit α for each: what a pass is multiplied by, what is expected to stay, what stays.

Two ways. ``straight-through``: the mask is σ(α), whose derivative at the ends, where α lies, is close to 0: it counts
as 1 (Bengio, Léonard and Courville, 2013), the gradient of each layer is divided by its largest value, and one step
can carry an α from one end to the other. ``hard-concrete``: masks are drawn (Louizos, Welling and Kingma, 2018), and
the α take the steps of an optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..structure import hard_concrete

START = 5.0
"""α of every dimension at first: σ(5) = 0.993."""
LIMIT = 6.0
THRESHOLD = 0.01
"""A dimension stays where σ(α) is above, which is α > -4.595."""
HEADS = "heads"

Way = Literal["straight-through", "hard-concrete"]


class Masks(nn.Module):
    """The α by space: one tensor for each of its masks. Those of heads begin near 0, and their softmax is the mask."""

    def __init__(self, sizes: Mapping[str, Sequence[int]], way: Way, keep_heads: int | None = None) -> None:
        super().__init__()
        self.way, self.keep_heads, self.spaces = WAYS[way], keep_heads, list(sizes)
        # The names say what the α mean, so that no other masks go on with them.
        self.lists = nn.ModuleDict(
            {
                f"{space} {way}": nn.ParameterList(
                    0.1 * torch.randn(size) if space == HEADS else torch.full((size,), self.way.start) for size in own
                )
                for space, own in sizes.items()
            }
        )

    @property
    def alphas(self) -> dict[str, Any]:
        """The α of each space, a list of one tensor for each mask."""
        return dict(zip(self.spaces, self.lists.values(), strict=True))

    def forward(self) -> dict[str, list[Tensor]]:
        """What a pass is multiplied by, with a gradient; the softmax over A heads A times, so that it starts near 1."""
        return self._each(self.way.mask, lambda alpha: alpha.softmax(0) * len(alpha))

    def expected(self) -> dict[str, list[Tensor]]:
        """What is expected to stay, with a gradient but for heads, whose number is given; on the CPU."""
        return self._each(lambda alpha: self.way.expected(alpha.cpu()), self._largest)

    @torch.no_grad()
    def settled(self) -> dict[str, list[Tensor]]:
        """The masks in the end: 0 for what goes; on the CPU."""
        return self._each(lambda alpha: self.way.settled(alpha.cpu()), self._largest)

    def hard(self) -> dict[str, list[Tensor]]:
        """1 for what stays now, else 0."""
        return {space: [(mask != 0).float() for mask in own] for space, own in self.settled().items()}

    @property
    def dimensions(self) -> list[nn.Parameter]:
        """The α of all but heads."""
        return [alpha for space, own in self.alphas.items() if space != HEADS for alpha in own]

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep the α of dimensions in their range."""
        for alpha in self.dimensions:
            alpha.clamp_(-self.way.limit, self.way.limit)

    def path(self, space: str) -> list[float]:
        """The α of a space, one mask behind the other, as the report draws them."""
        return [round(value, 2) for alpha in self.alphas[space] for value in alpha.tolist()]

    def _each(
        self, dimensions: Callable[[Tensor], Tensor], heads: Callable[[Tensor], Tensor]
    ) -> dict[str, list[Tensor]]:
        return {
            space: [(heads if space == HEADS else dimensions)(alpha) for alpha in own]
            for space, own in self.alphas.items()
        }

    def _largest(self, alpha: Tensor) -> Tensor:
        assert self.keep_heads is not None, "a search of heads says how many stay"
        kept = alpha.detach().cpu().topk(self.keep_heads).indices
        return torch.zeros(len(alpha)).index_fill(0, kept, 1.0)


def straight(alpha: Tensor) -> Tensor:
    """σ(α), whose derivative counts as 1."""
    return torch.sigmoid(alpha.detach()) + (alpha - alpha.detach())


def thresholded(alpha: Tensor) -> Tensor:
    """σ(α) where it is above 0.01, else 0."""
    mask = torch.sigmoid(alpha)
    return mask * (mask > THRESHOLD)


@torch.no_grad()
def leap(alphas: Iterable[Tensor], size: float) -> None:
    """α ← α - s g / max|g| for each layer, with s > 10 from 5 to below -4.6 in one step; the gradients are used up."""
    for alpha in alphas:
        assert alpha.grad is not None, "who leaps has a gradient"
        if (largest := alpha.grad.abs().max()) > 0:
            alpha.sub_(size * alpha.grad / largest)
        alpha.grad = None


class _Way(NamedTuple):
    start: float
    limit: float
    mask: Callable[[Tensor], Tensor]
    expected: Callable[[Tensor], Tensor]
    settled: Callable[[Tensor], Tensor]


WAYS: dict[Way, _Way] = {
    "straight-through": _Way(START, LIMIT, straight, straight, thresholded),
    "hard-concrete": _Way(
        hard_concrete.LIMIT,
        hard_concrete.LIMIT,
        hard_concrete.sample,
        hard_concrete.keep_probability,
        lambda alpha: hard_concrete.settled(alpha, 0.0),
    ),
}
