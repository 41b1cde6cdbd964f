"""What travels with the states of a pass: which tokens are real, where they are, and which are asked for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from .band import Allowed, Band
from .patterns.base import Pattern
from .trace import AttentionTrace


class Tokens:
    """The tokens of a batch on their way through the layers; a layer may hand on fewer than it was given.

    keys: (batch, 1, 1, n) boolean, or None when no token is padding as far as is known. asked: None where the states of
    all tokens are wanted of the layer to come, else the number of the first tokens that are. What is made once for all
    layers is kept here.

    x: the input of the first layer, (batch, n, hidden). positions: the mechanism by which positions enter attention.
    traced: let the attention modules leave what they work with in ``trace``.
    """

    def __init__(self, x: Tensor, attention_mask: Tensor | None, positions: Any = None, traced: bool = False) -> None:
        self.attention_mask = attention_mask
        self.keys = None if attention_mask is None else attention_mask[:, None, None, :].bool()
        self.positions = positions
        self.state = None if positions is None else positions.prepare(x)
        self.asked: int | None = None
        self.trace: dict[object, AttentionTrace] | None = {} if traced else None  # by attention module
        self._weights: Tensor | None = None
        self._masks: dict[tuple[int | None, int | None], Tensor | None] = {}
        self._patterns: dict[tuple[Pattern, int], Tensor] = {}
        self._allowed: dict[Band, Allowed] = {}

    def ask(self, first: int | None) -> Tokens:
        """The same tokens, of which only the first ones are wanted of the layer to come; None: all."""
        asked = copy.copy(self)
        asked.asked = first
        return asked

    def of(self, x: Tensor) -> Tensor:
        """The states that are asked for among (batch, n, …)."""
        return x if self.asked is None else x[:, : self.asked]

    def left(self) -> Tokens:
        """The tokens behind a layer: those that were asked for."""
        if self.asked is None:
            return self
        mask = None if self.attention_mask is None else self.attention_mask[:, : self.asked]
        left = copy.copy(self)
        left.attention_mask, left.keys = mask, None if mask is None else mask[:, None, None, :].bool()
        left.asked, left._weights, left._masks, left._patterns, left._allowed = None, None, {}, {}, {}
        return left

    def rows(self, rows: Tensor, x: Tensor) -> tuple[Tokens, Tensor]:
        """Some rows alone, with their states, and without the columns at the end that are padding in all of them.

        rows: (batch,) of bool. x: (batch, n, hidden).
        """
        left, x = copy.copy(self), x[rows]
        if self.attention_mask is not None:
            mask = self.attention_mask[rows]
            mask = mask[:, : int(mask.any(0).nonzero().max()) + 1] if mask.any() else mask
            left.attention_mask, left.keys, x = mask, mask[:, None, None, :].bool(), x[:, : mask.shape[1]]
        left._weights, left._masks, left._patterns, left._allowed = None, {}, {}, {}
        left.state = None if self.positions is None else self.positions.prepare(x)
        return left, x

    def mean_weights(self, x: Tensor) -> Tensor:
        """(batch, 1, n): 1 / number of real tokens on real tokens, 0 on padding."""
        if self._weights is None:
            mask = x.new_ones(x.shape[:2]) if self.attention_mask is None else self.attention_mask.to(x.dtype)
            self._weights = (mask / mask.sum(1, keepdim=True).clamp(min=1))[:, None]  # numbers for a row of padding too
        return self._weights

    def place(self, layer: Any, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries and keys with their positions in them, and what these add to the scores, if anything."""
        if self.positions is None:
            return query, key, None
        placed: tuple[Tensor, Tensor, Tensor | None] = self.positions.place(self.state, layer, query, key)
        return placed

    def kept(self, pattern: Pattern, n: int, heads: int, device: torch.device) -> Tensor:
        """The pairs that a pattern keeps, (heads or 1, n, n) boolean."""
        if (pattern, heads) not in self._patterns:
            self._patterns[pattern, heads] = pattern.allowed(n, heads, device)
        return self._patterns[pattern, heads]

    def mask(self, query: Tensor, key: Tensor, bias: Tensor | None, window: int | None) -> Tensor | None:
        """What SDPA takes: a boolean mask, or the bias with minus infinity where a token is not attended; or None."""
        if bias is not None and not self.positions.same_for_layers:
            return self._mask(query, key, bias, window)
        name = window, None if bias is None else id(bias)  # the state holds it as long as the pass lasts
        if name not in self._masks:
            self._masks[name] = self._mask(query, key, bias, window)
        mask, rows = self._masks[name], query.shape[-2]
        return mask if mask is None or mask.shape[-2] <= rows else mask[..., :rows, :]

    def allowed(self, key: Tensor, band: Band) -> Allowed:
        """What SDPA takes where a band is computed by blocks."""
        if band not in self._allowed:
            if self.attention_mask is None:
                real = torch.ones(key.shape[0], key.shape[-2], dtype=torch.bool, device=key.device)
            else:
                real = self.attention_mask.bool()
            self._allowed[band] = band.allowed(real)
        return self._allowed[band]

    def _mask(self, query: Tensor, key: Tensor, bias: Tensor | None, window: int | None) -> Tensor | None:
        allowed, n = self.keys, key.shape[-2]
        if window is not None:
            allowed = near(n, window, key.device)
            if self.keys is not None:
                # Padding far from all real tokens attends to itself: a row without any key would be NaN.
                allowed = allowed & self.keys | torch.eye(n, dtype=torch.bool, device=key.device)
        if bias is None:
            return allowed
        bias = bias.to(query.dtype)
        if allowed is None:
            return bias
        return bias.masked_fill(~allowed[..., : bias.shape[-2], :], -torch.inf)


def near(n: int, window: int, device: torch.device, rows: int | None = None) -> Tensor:
    """(n, n) boolean: the pairs of tokens at most ``window // 2`` apart; or the first rows of these alone."""
    positions = torch.arange(n, device=device)
    return (positions[:rows, None] - positions).abs() <= window // 2
