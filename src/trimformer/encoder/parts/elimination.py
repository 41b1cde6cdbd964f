"""Which tokens a layer hands on: token elimination (Goyal et al., "PoWER-BERT", 2020, section 3).

A token counts as much as the others look at it. What is left is the first token and those that count most, in their
order; of tokens that count the same the first ones are left, so that all runtimes choose alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..shape.config import SHARES, Kept, TrimformerConfig
from .sizes import Number

FIRST, PADDING = torch.finfo(torch.float32).max, -1.0
"""What the first token counts, which always stays, and what padding does, which is the first to go."""


class Chosen(NamedTuple):
    """Tokens of each row, in their order. places: among those that there were, int64 (batch, k). kept: boolean (batch,
    k), False behind the last of a row."""

    places: Tensor
    kept: Tensor

    def of(self, x: Tensor) -> Tensor:
        """The chosen ones of (batch, n, …) -> (batch, k, …)."""
        batch, n, *more = x.shape
        return self.of_rows(x.reshape(batch * n, *more), n).reshape(batch, self.places.shape[1], *more)

    def of_rows(self, rows: Tensor, n: int) -> Tensor:
        """The same where the tokens are rows, (batch * n, …) -> (batch * k, …)."""
        batch = torch.arange(self.places.shape[0], device=rows.device)
        return rows.index_select(0, (self.places + n * batch[:, None]).reshape(-1))


@dataclasses.dataclass
class Ranking:
    """What a layer does with its tokens by their rank, and what came of it, once its attention has ranked them.

    handed: how many it hands on, None: all. by_rank: the factors of soft extraction, None: there are none. chosen: the
    tokens that it hands on, None: all. factors: of the tokens, (batch, n), None: there are none.
    """

    handed: Kept | None
    by_rank: Tensor | None = None
    chosen: Chosen | None = None
    factors: Tensor | None = None


def counts(kept: Kept, lengths: Tensor) -> Tensor:
    """How many tokens are left of texts of so many: int64 -> the same. In whole numbers, which no runtime rounds."""
    if isinstance(kept, int):
        return lengths.clamp(1, kept)
    return torch.div(lengths * round(kept * SHARES), SHARES, rounding_mode="floor").clamp(min=1)


def handed_on(kept: Iterable[Kept | None], length: int) -> list[tuple[int, int]]:
    """For a text of ``length`` tokens the tokens that come to each layer, and those that it hands on.

    kept: what each layer keeps, None: all.
    """
    found, arrived = [], length
    for own in kept:
        left = arrived if own is None else min(arrived, int(counts(own, torch.tensor(length))))
        found.append((arrived, left))
        arrived = left
    return found


def eliminates(config: TrimformerConfig) -> bool:
    """Whether a layer of this encoder hands on fewer tokens than it is given."""
    return any(shape.tokens is not None for shape in config.shapes)


def significance(weights: Tensor, real: Tensor) -> Tensor:
    """How much the other real tokens look at each one: attention weights (batch, heads, n, n) -> (batch, n).

    What a token looks at itself does not count (section 3.2). real: boolean (batch, n).
    """
    places = torch.arange(weights.shape[-1], device=weights.device)
    others = (places[:, None] != places) & real[:, :, None]
    summed = weights.sum(1, dtype=torch.promote_types(weights.dtype, torch.float32))
    return (summed * others).sum(1)


def valued(found: Tensor, real: Tensor) -> Tensor:
    """The significance with that of the first token and of padding as they have to be for the ranking."""
    found = found.masked_fill(~real, PADDING)
    return found.masked_fill(torch.arange(found.shape[1], device=found.device) == 0, FIRST)


def choose(values: Tensor, count: Tensor, most: int) -> Chosen:
    """The tokens of the largest values, (batch, n), ``count`` of each row (batch,), in rows of ``most`` places."""
    n, places = values.shape[1], torch.arange(values.shape[1], device=values.device)
    least = torch.sort(values, descending=True).values.gather(1, count[:, None] - 1)
    above, level = values > least, values == least
    room = count[:, None] - above.long().sum(1, keepdim=True)
    kept = above | level & (level.long().cumsum(1) <= room)
    order = torch.sort(torch.where(kept, places, places + n)).indices
    given = torch.arange(most, device=values.device)
    return Chosen(order[:, given.clamp(max=n - 1)], given < count[:, None])


def factors(by_rank: Tensor, values: Tensor, lengths: Tensor) -> Tensor:
    """What soft extraction multiplies each token by (section 3.3): (batch, n).

    by_rank: (m,), from the rank that counts most; a text of another length reads them as shares: a token of rank k of n
    reads the mean over [k m / n, (k + 1) m / n). No gradient passes the ranking. lengths: real tokens, (batch,).
    """
    order = torch.sort(values, descending=True, stable=True).indices
    ranks = torch.sort(order, stable=True).indices
    size = len(by_rank)
    width = size / lengths.clamp(min=1)[:, None].to(by_rank.dtype)
    sums = F.pad(by_rank.cumsum(0), (1, 0))

    def below(place: Tensor) -> Tensor:
        """The sum up to a place between two of the values."""
        whole = place.floor().long().clamp(max=size - 1)
        return sums[whole] + (place - whole) * by_rank[whole]

    start = ranks * width
    found = (below((start + width).clamp(max=size)) - below(start.clamp(max=size))) / width
    return found.where(ranks < lengths[:, None], 1.0)  # of padding nothing is read


def expected_counts(means: Iterable[Number | None], length: int) -> list[tuple[Number, Number]]:
    """As :func:`handed_on` where each layer keeps on average this share of a text's tokens, None: all it is given."""
    found: list[tuple[Number, Number]] = []
    arrived: Number = length
    for mean in means:
        left = arrived if mean is None else torch.minimum(torch.as_tensor(arrived), torch.as_tensor(mean * length))
        found.append((arrived, left))
        arrived = left
    return found
