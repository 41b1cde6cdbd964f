"""What travels with the states of a pass: which tokens are real, where they are, and which are asked for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..shape.config import Kept
from ..shape.gates import LayerGates
from .band import Allowed, Band
from .elimination import Ranking, choose, counts, factors, significance, valued
from .patterns.base import Pattern
from .trace import AttentionTrace


class Tokens:
    """The tokens of a batch on their way through the layers; a layer may hand on fewer than it was given.

    keys: (batch, 1, 1, n) boolean, or None when no token is padding as far as is known. asked: None where the states of
    all tokens are wanted of the layer to come, else the number of the first tokens that are. What is made once for all
    layers is kept here.

    x: the input of the first layer, (batch, n, hidden). positions: the mechanism by which positions enter attention.
    traced: let the attention modules leave what they work with in ``trace``.

    places: of the tokens in their texts, int64 (1 or batch, n); what was eliminated leaves gaps. Windows, patterns and
    convolutions take the tokens that are left side by side. ranking: of a layer that hands on fewer tokens, or whose
    gates of tokens are given: its attention is to ``rank`` them. None: no ranking is needed.
    """

    def __init__(self, x: Tensor, attention_mask: Tensor | None, positions: Any = None, traced: bool = False) -> None:
        self.attention_mask = attention_mask
        self.keys = None if attention_mask is None else attention_mask[:, None, None, :].bool()
        self.positions = positions
        self.places = torch.arange(x.shape[1], device=x.device)[None]
        self.state = None if positions is None else positions.prepare(self.places)
        self.text_mask = attention_mask  # also behind layers that hand on fewer tokens
        self.text_size = x.shape[:2]
        self.ranking: Ranking | None = None
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
        """The tokens behind a layer: those that were asked for, or chosen."""
        if self.asked is None and self.ranking is None:
            return self
        left, chosen = copy.copy(self), None if self.ranking is None else self.ranking.chosen
        left.asked, left.ranking = None, None
        if self.asked is not None:
            mask = None if self.attention_mask is None else self.attention_mask[:, : self.asked]
        elif chosen is None:
            return left
        else:
            left.places = chosen.of(self.places.expand(len(chosen.places), -1))
            mask = chosen.of(self._real().long()) * chosen.kept
            if self.positions is not None:
                left.state = self.positions.prepare(left.places)
        left.attention_mask, left.keys = mask, None if mask is None else mask[:, None, None, :].bool()
        left._weights, left._masks, left._patterns, left._allowed = None, {}, {}, {}
        return left

    def rows(self, rows: Tensor, x: Tensor) -> tuple[Tokens, Tensor]:
        """Some rows alone, with their states, and without the columns at the end that are padding in all of them.

        rows: (batch,) of bool. x: (batch, n, hidden).
        """
        left, x = copy.copy(self), x[rows]
        left.text_mask = None if self.text_mask is None else self.text_mask[rows]
        left.text_size = torch.Size((len(x), self.text_size[1]))
        left.places = self.places if len(self.places) == 1 else self.places[rows]
        if self.attention_mask is not None:
            mask = self.attention_mask[rows]
            mask = mask[:, : int(mask.any(0).nonzero().max()) + 1] if mask.any() else mask
            left.attention_mask, left.keys, x = mask, mask[:, None, None, :].bool(), x[:, : mask.shape[1]]
        left.places = left.places[:, : x.shape[1]]
        left._weights, left._masks, left._patterns, left._allowed = None, {}, {}, {}
        left.state = None if self.positions is None else self.positions.prepare(left.places)
        return left, x

    # Token elimination.

    def handing_on(self, kept: Kept | None, gates: LayerGates | None) -> Tokens:
        """The same tokens for a layer that hands on so many; where only the first is asked for, none is ranked."""
        by_rank = None if gates is None else gates.tokens
        if self.asked is not None or (kept is None and by_rank is None):
            return self
        tokens = copy.copy(self)
        tokens.ranking = Ranking(kept, by_rank)
        return tokens

    def rank(self, weights: Tensor, gates: LayerGates | None) -> None:
        """Choose by attention weights, (batch, heads, n, n); heads that are gated off do not count.

        Where no head is left, or no position, trim leaves a layer that attends to nothing: it ranks no tokens.
        """
        if gates is not None:
            alive = gates.heads_alive()
            if alive is not None:
                weights = weights * alive[..., None, None]
            nothing = alive is not None and not alive.any()
            if nothing or (gates.positions is not None and not gates.positions.any()):
                return
        real, ranking = self._real(), self.ranking
        assert ranking is not None
        values = valued(significance(weights, real), real)
        if ranking.by_rank is not None:
            ranking.factors = factors(ranking.by_rank, values, real.sum(1))
        if ranking.handed is not None:
            count = torch.minimum(counts(ranking.handed, self._lengths()), (values >= 0).sum(1))
            ranking.chosen = choose(values, count, int(count.max()))

    def extract(self, x: Tensor, softly: bool = True) -> Tensor:
        """What goes on from attention to the feed-forward block, (batch, n, …); softly: times the factors by rank."""
        if self.ranking is None:
            return x
        if softly and self.ranking.factors is not None:
            x = x * self.ranking.factors[..., None].to(x.dtype)
        return x if self.ranking.chosen is None else self.ranking.chosen.of(x)

    def pairs(self, given: Tensor) -> Tensor:
        """What is given for pairs of the text's tokens, (…, n, n), for those that are there: (batch, …, k, k)."""
        batch, k = self.places.shape
        if given.shape[-1] == k:
            return given
        n, heads = given.shape[-1], given.shape[-3]
        given = given.expand(batch, heads, n, n)
        rows = given.gather(2, self.places[:, None, :, None].expand(batch, heads, k, n))
        return rows.gather(3, self.places[:, None, None].expand(batch, heads, k, k))

    def _real(self) -> Tensor:
        """Which tokens are no padding, boolean (batch, n)."""
        if self.attention_mask is not None:
            return self.attention_mask.bool()
        return torch.ones(self.text_size, dtype=torch.bool, device=self.places.device)

    def _lengths(self) -> Tensor:
        """How many tokens the texts have, int64 (batch,)."""
        if self.text_mask is not None:
            return self.text_mask.long().sum(1)
        batch, n = self.text_size
        return torch.full((batch,), n, device=self.places.device)

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
