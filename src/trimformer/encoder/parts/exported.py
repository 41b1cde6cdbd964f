"""What the parts of an exported graph share in one pass.

Tokens are kept in rows, (batch * n, hidden). Linear maps of rows export as Gemm, which holds its bias, and ONNX Runtime
then leaves Add and LayerNormalization apart; for three-dimensional tensors it fuses them into SkipLayerNormalization,
whose CPU kernel takes five times as long as the two.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..shape.config import SHARES, Kept
from .band import Allowed, Band
from .elimination import Ranking, choose, counts, significance, valued
from .patterns.base import Pattern
from .tokens import near

# Added to the score of a padded key. Finite, so that a row of padding only gives numbers and not NaN.
PADDED_SCORE = -1e9


class ExportedTokens:
    """What the layers of an exported graph are given beside the states; what several layers read is made once.

    mask: (batch, n), 1 = real token. mean_weights: (batch, 1, n). state: of the mechanism of positions. kept: the pairs
    that a pattern keeps for so many heads, (1 or heads, n, n) boolean, made by the first layer that has it. lengths: of
    the texts in tokens, int64 (batch,). places, ranking: as those of ``tokens.py``.

    length: of the padded texts, a number that is open in the graph.
    """

    def __init__(self, mask: Tensor, places: Tensor, lengths: Tensor, length: Any, positions: Any) -> None:
        self.mask, self.places, self.lengths, self.length, self.positions = mask, places, lengths, length, positions
        self.mean_weights = (mask / mask.sum(1, keepdim=True).clamp(min=1))[:, None]
        self.padding = ((1 - mask) * PADDED_SCORE)[:, None, None]
        self.state = positions.prepare(places)
        self.kept: dict[tuple[Pattern, int], Tensor] = {}
        self._shared: dict[Any, Tensor] = {}
        self._biases: dict[Any, Tensor] = {}
        self._bands: dict[Band, Allowed] = {}
        self.ranking: Ranking | None = None

    def bias(self, window: int | None, columns: Any, first_only: bool) -> Tensor:
        """What is added to the scores of the layers with this window and these columns of a bias that all share, for
        all tokens or for the first one alone: (batch, 1 or heads, n or 1, n)."""
        known = window, columns, first_only
        if known not in self._biases:
            if columns not in self._shared:  # the same bias in all layers is added to the padding's
                relative = self.state[columns] if self.positions.same_for_layers else None
                self._shared[columns] = self.padding if relative is None else self.padding + relative
            shared = self._shared[columns]
            self._biases[known] = shared if window is None else within(shared, window, first_only)
        return self._biases[known]

    def band(self, band: Band) -> Allowed:
        """What is added to the scores of the layers that compute this band by blocks."""
        if band not in self._bands:
            self._bands[band] = by_blocks(self.mask, band)
        return self._bands[band]

    def handing_on(self, kept: Kept | None) -> ExportedTokens:
        """The same tokens for a layer that hands on so many; None: all."""
        if kept is None:
            return self
        tokens = copy.copy(self)
        tokens.ranking = Ranking(kept)
        return tokens

    def rank(self, weights: Tensor) -> None:
        """Choose the tokens that are handed on, by attention weights (batch, heads, n, n)."""
        real, ranking = self.mask > 0, self.ranking
        assert ranking is not None
        assert ranking.handed is not None
        values = valued(significance(weights, real), real)
        count = torch.minimum(counts(ranking.handed, self.lengths), (values >= 0).sum(1))
        ranking.chosen = choose(values, count, most_of(ranking.handed, self.length))

    def extract(self, rows: Tensor) -> Tensor:
        """What goes on from attention to the feed-forward block, in rows: (batch * n, …)."""
        chosen = None if self.ranking is None else self.ranking.chosen
        return rows if chosen is None else chosen.of_rows(rows, self.mask.shape[1])

    def left(self) -> ExportedTokens:
        """The tokens behind the layer."""
        chosen = None if self.ranking is None else self.ranking.chosen
        if chosen is None:
            return self
        mask = chosen.of(self.mask) * chosen.kept
        places = chosen.of(self.places.expand(self.mask.shape[0], -1))
        return ExportedTokens(mask, places, self.lengths, self.length, self.positions)


def most_of(kept: Kept, length: Any) -> Any:
    """Tokens that are left of a text of this length, a number that is open in the graph, or up to two more.

    At least two, because exporters take a dimension of one for a fixed one.
    """
    if isinstance(kept, float):
        return (length * round(kept * SHARES) + SHARES - 1) // SHARES + 1
    return torch.sym_min(length, max(2, kept))


def within(score_bias: Tensor, window: int, first_only: bool) -> Tensor:
    """The bias with what lies outside the window as far off as padding; first_only: of the first token."""
    rows = 1 if first_only else None
    inside = near(score_bias.shape[-1], window, score_bias.device, rows)
    return score_bias[:, :, :rows].masked_fill(~inside, PADDED_SCORE)


def by_blocks(mask: Tensor, band: Band) -> Allowed:
    """What is added to the scores of a band; mask: (batch, n), 1 = real token."""

    def added(allowed: Tensor) -> Tensor:
        return mask.new_zeros(()).masked_fill(~allowed, PADDED_SCORE)

    found = band.allowed(mask > 0)
    return Allowed(found.blocks, added(found.inside), None if found.first is None else added(found.first))
