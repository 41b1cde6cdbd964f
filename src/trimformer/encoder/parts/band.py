"""Attention over a band of tokens without the n × n matrix of scores: blocks of queries against the keys near them.

Each block of queries is multiplied with its own keys alone: those of the block, ``reach`` before it and ``reach``
behind it. Operations and memory then grow with n and not with n² (Beltagy, Peters and Cohan, "Longformer", 2020,
section 3; Zaheer et al., "BigBird", 2020). Keys are laid out by slices and one concatenation, which all runtimes do
fast, not by indices. The first tokens may be seen by all and see all: their keys stand before those of each block, and
their queries are multiplied with all keys.
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
SAVED = 2.5
"""How many times fewer scores than n² blocks must have: what fewer save is lost by laying the keys out."""


class Blocks(NamedTuple):
    """How a text is cut: ``number`` blocks of ``size`` queries, and ``near`` keys before and behind each."""

    number: int
    size: int
    near: int


class Allowed(NamedTuple):
    """Which keys the queries attend to, in the form that the product takes: booleans, or what is added to the scores.

    blocks: what the masks are of. inside: (batch * number, 1 or heads, size, keys of a block). first: (batch, 1, first,
    n), of the first tokens, where these see all.
    """

    blocks: Blocks
    inside: Tensor
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

    @property
    def long(self) -> int:
        """From so many tokens on blocks are used."""
        return int(SAVED * (self.keys + self.first))

    def pairs(self, n: int) -> int:
        """Scores that are computed of each head for n tokens, at least ``long``."""
        return -(-n // self.block) * self.block * self.keys + self.first * n

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
        blocks = self._cut(n)
        places = torch.arange(-blocks.near, blocks.size + blocks.near, device=device)
        away = places - torch.arange(blocks.size, device=device)[:, None]
        inside, own, real = self.keeps(away), away == 0, self._beside(keys, blocks)[:, :, None, None]
        if self.first:
            # The first tokens stand before the band, and so do not count where they are in it.
            starts = torch.arange(blocks.number, device=device)[:, None] * blocks.size
            real = real & F.pad(starts + places >= self.first, (self.first, 0), value=True)[:, None, None]
            inside, own = F.pad(inside, (self.first, 0), value=True), F.pad(own, (self.first, 0))
        inside = inside & real
        inside = inside | own & ~inside.any(-1, keepdim=True)
        if not self.first:
            return Allowed(blocks, inside.flatten(0, 1), None)
        itself = torch.arange(self.first, device=device)[:, None] == torch.arange(n, device=device)
        first = keys[:, None, None] | itself & ~keys.any(-1)[:, None, None, None]
        return Allowed(blocks, inside.flatten(0, 1), first)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Allowed, product: Product) -> Tensor:
        """What each token reads: (batch, heads, n, size) of each -> (batch, heads, n, size of the values)."""
        batch, heads, n, size = query.shape
        blocks = allowed.blocks
        query = F.pad(query, (0, 0, 0, blocks.number * blocks.size - n)).transpose(1, 2)
        cut = query.reshape(batch * blocks.number, blocks.size, heads, size).transpose(1, 2)
        context = product(cut, self._keys(key, blocks), self._keys(value, blocks), allowed.inside)
        context = context.transpose(1, 2).reshape(batch, blocks.number * blocks.size, heads, value.shape[-1])
        context = context.transpose(1, 2)
        if allowed.first is not None:
            first = product(query[:, : self.first].transpose(1, 2), key, value, allowed.first)
            context = torch.cat((first, context[:, :, self.first :]), 2)
        return context[:, :, :n]

    def _cut(self, n: int) -> Blocks:
        """How n tokens are cut. A graph of open length takes a short text as one block without any others beside it."""
        traced = torch.jit.is_tracing()
        if not traced and not isinstance(n, torch.SymInt):
            return Blocks(-(-n // self.block), self.block, self.reach)
        length = torch.as_tensor(n) if traced else torch.scalar_tensor(n, dtype=torch.long)
        is_long = length >= self.long
        size = torch.where(is_long, self.block, length.clamp(min=self.first))
        number, near = (length + size - 1) // size, torch.where(is_long, self.reach, 0)
        if traced:  # tensors are what is open to the older exporter
            return Blocks(number, size, near)  # type: ignore[arg-type]
        # Numbers of which torch.export knows nothing but this: else it fixes whether they are 1.
        blocks = Blocks(*(one.item() for one in (number, size, near)))  # type: ignore[arg-type]
        for known in (
            blocks.number >= 1,
            blocks.size >= max(1, self.first),
            blocks.near >= 0,
            blocks.near <= blocks.size,
            blocks.number * blocks.size >= n,
        ):
            torch._check(known)
        return blocks

    def _keys(self, x: Tensor, blocks: Blocks) -> Tensor:
        """(batch, heads, n, size) -> (batch * number, heads, keys, size): those that each block is multiplied with."""
        batch, heads, _, size = x.shape
        x = self._beside(x.transpose(1, 2), blocks)
        keys = self.first + blocks.size + 2 * blocks.near
        return x.reshape(batch * blocks.number, keys, heads, size).transpose(1, 2)

    def _beside(self, x: Tensor, blocks: Blocks) -> Tensor:
        """(batch, n, …) -> the first tokens and those near each block, (batch, number, keys, …); 0 beyond the text."""
        batch, n, *more = x.shape
        number, size, near = blocks
        x = F.pad(x, (*[0, 0] * len(more), size, (number + 1) * size - n)).reshape(batch, number + 2, size, *more)
        parts = [x[:, :number, size - near :], x[:, 1 : number + 1], x[:, 2:, :near]]
        if self.first:
            parts = [x[:, 1:2, : self.first].expand(batch, number, self.first, *more), *parts]
        return torch.cat(parts, 2)
