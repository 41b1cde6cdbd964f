"""Attention over a band of tokens without the n × n matrix of scores: blocks of queries against the keys near them.

Queries are cut into blocks, and each block is multiplied with its own keys, those ``reach`` before it and those ``reach``
after it, so that operations and memory grow with n and not with n² (Beltagy, Peters and Cohan, "Longformer", 2020,
section 3.1; Zaheer et al., "BigBird", 2020, appendix D). Keys are laid side by side by slices and one concatenation, which
all runtimes do fast, not by indices. The first tokens may be seen by all and see all: their keys stand before those of
each block, and their queries are multiplied with all keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 64
"""The fewest queries of a block: products of fewer take longer than what they save."""
SAVED = 2
"""Blocks are used where they have at most this part of the n² scores: for less, laying the keys out takes longer."""


class Allowed(NamedTuple):
    """Which keys the queries attend to, in the form that the product takes: booleans, or what is added to the scores.

    count: how many blocks a text is. blocks: (batch * count, 1 or heads, block, keys of a block). first: (batch, 1,
    first, n), of the first tokens, where these see all.
    """

    count: int
    blocks: Tensor
    first: Tensor | None


Product = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Attention of queries, keys and values, (batch, heads, n, size) each, under a mask."""


@dataclasses.dataclass(frozen=True)
class Band:
    """Pairs of tokens by their distance, at most ``reach``.

    first: so many first tokens attend to all and are attended by all. distances: for each head those that are kept, in
    both directions; None: all up to ``reach``.
    """

    reach: int
    first: int = 0
    distances: tuple[tuple[int, ...], ...] | None = None

    @property
    def block(self) -> int:
        """Queries of a block."""
        return max(self.reach, self.first, BLOCK)

    @property
    def keys(self) -> int:
        """Keys that a block is multiplied with."""
        return self.first + self.block + 2 * self.reach

    def pairs(self, n: int) -> int:
        """Scores that are computed of each head for n tokens."""
        return -(-n // self.block) * self.block * self.keys + self.first * n

    def pays(self, n: int) -> bool:
        """Whether n tokens are attended to by blocks."""
        return SAVED * self.pairs(n) <= n * n

    def keeps(self, distance: Tensor) -> Tensor:
        """Whether pairs of these distances (…) are kept: boolean (1 or heads, …)."""
        away = distance.abs()
        if self.distances is None:
            return (away <= self.reach)[None]
        kept = [[one in own for one in range(self.reach + 2)] for own in map(set, self.distances)]
        return torch.tensor(kept, device=distance.device)[:, away.clamp(max=self.reach + 1)]

    def allowed(self, keys: Tensor) -> Allowed:
        """Booleans by which blocks attend; keys: (batch, n) boolean, False: padding.

        A token without any key that it may attend to attends to itself: a row of nothing would be NaN.
        """
        n, device = keys.shape[1], keys.device
        count = self._count(n)
        places = torch.arange(-self.reach, self.block + self.reach, device=device)
        away = places - torch.arange(self.block, device=device)[:, None]
        inside, own, real = self.keeps(away), away == 0, self._beside(keys, count)[:, :, None, None]
        if self.first:
            # The first tokens stand before the band, and so do not count where they are in it.
            starts = torch.arange(count, device=device)[:, None] * self.block
            real = real & F.pad(starts + places >= self.first, (self.first, 0), value=True)[:, None, None]
            inside, own = F.pad(inside, (self.first, 0), value=True), F.pad(own, (self.first, 0))
        inside = inside & real
        inside = inside | own & ~inside.any(-1, keepdim=True)
        if not self.first:
            return Allowed(count, inside.flatten(0, 1), None)
        itself = torch.arange(self.first, device=device)[:, None] == torch.arange(n, device=device)
        first = keys[:, None, None] | itself & ~keys.any(-1)[:, None, None, None]
        return Allowed(count, inside.flatten(0, 1), first)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Allowed, product: Product) -> Tensor:
        """What each token reads: (batch, heads, n, size) of each -> (batch, heads, n, size of the values)."""
        batch, heads, n, size = query.shape
        block, count = self.block, allowed.count
        query = F.pad(query, (0, 0, 0, count * block - n)).transpose(1, 2)
        cut = query.reshape(batch * count, block, heads, size).transpose(1, 2)
        context = product(cut, self._keys(key, count), self._keys(value, count), allowed.blocks)
        context = context.transpose(1, 2).reshape(batch, count * block, heads, value.shape[-1]).transpose(1, 2)
        if allowed.first is not None:
            first = product(query[:, : self.first].transpose(1, 2), key, value, allowed.first)
            context = torch.cat((first, context[:, :, self.first :]), 2)
        return context[:, :, :n]

    def _count(self, n: int) -> int:
        """How many blocks n tokens are."""
        count = (n + self.block - 1) // self.block
        if not isinstance(n, torch.SymInt):
            return count
        # In a graph of open length torch.export must take it for any number: else it fixes that it is 1, or is not.
        found: int = torch.scalar_tensor(count, dtype=torch.long).item()  # type: ignore[assignment]
        torch._check(found >= 1)
        torch._check(found * self.block >= n)
        return found

    def _keys(self, x: Tensor, count: int) -> Tensor:
        """(batch, heads, n, size) -> (batch * count, heads, keys, size): those that each block is multiplied with."""
        batch, heads, _, size = x.shape
        x = self._beside(x.transpose(1, 2), count)
        return x.reshape(batch * count, self.keys, heads, size).transpose(1, 2)

    def _beside(self, x: Tensor, count: int) -> Tensor:
        """(batch, n, …) -> the first tokens and those near each block, (batch, count, keys, …); 0 beyond the text."""
        batch, n, *more = x.shape
        block = self.block
        padding = (*[0, 0] * len(more), block, (count + 1) * block - n)
        x = F.pad(x, padding).reshape(batch, count + 2, block, *more)
        parts = [x[:, :count, block - self.reach :], x[:, 1 : count + 1], x[:, 2:, : self.reach]]
        if self.first:
            parts = [x[:, 1:2, : self.first].expand(batch, count, self.first, *more), *parts]
        return torch.cat(parts, 2)
