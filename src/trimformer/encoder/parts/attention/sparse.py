"""Self-attention in which only some pairs of tokens attend to each other: a static mask as part of the shape.

The pattern (``encoder/parts/patterns``) says which pairs are kept (after Shi et al., "SparseBERT", 2021). The scores of
others are *replaced* by a constant, as gates on positions do it: a token of which no real key is kept attends uniformly
to all real tokens, and a single real token to itself. A pattern that is a band and the first tokens is computed by
blocks where a text is long (``parts/band.py``); otherwise all scores are computed and then masked, which saves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import ATTENTION
from ..axes import COLUMNS
from ..exported import PADDED_SCORE, ExportedTokens
from ..patterns.base import Pattern, read, written
from ..patterns.named import Longformer, NoDiagonal, Window
from ..tokens import Tokens
from .full import REMOVED_SCORE, ExportedAttention, FullAttention

PATTERN = "pattern"
DEFAULT = Longformer()


@ATTENTION.add("sparse")
class SparseAttention(FullAttention):
    """As full attention, (batch, n, hidden) -> the same, where the shape's pattern says which pairs count.

    The pattern takes the place of a window.
    """

    kind = "sparse"
    about = "self-attention between the pairs of tokens that a static pattern keeps"
    becomes = ("mean", "bias", "none", "conv", "gaussian")
    made_from = ("full",)
    settings = (COLUMNS, PATTERN)

    @classmethod
    def instead_of(cls, layer: Any, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        given: Tensor = layer.attend(x, tokens, gates, None, DEFAULT)
        return given

    @classmethod
    def named(cls, text: str) -> dict[str, Any] | None:
        """``sparse-star`` is one with the pattern ``star`` and its defaults."""
        found = re.fullmatch(rf"{cls.kind}(?:-(.+))?", text)
        return None if found is None else {} if found[1] is None else {PATTERN: {"name": found[1]}}

    @classmethod
    def shaped(cls, shape: LayerShape, **fields: Any) -> LayerShape:
        given = fields.pop(PATTERN, shape.own.get(PATTERN, written(DEFAULT)))
        own = {PATTERN: written(read(given))}
        own |= {name: value for name, value in shape.own.items() if name == COLUMNS}
        return super().shaped(shape, **{"own": own, "window": None} | fields)

    @classmethod
    def without_pattern(cls, shape: LayerShape) -> LayerShape:
        return FullAttention.shaped(shape)

    @classmethod
    def pattern_of(cls, shape: LayerShape) -> Pattern:
        return read(shape.own[PATTERN])

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        super().check(shape)
        if shape.window is not None:
            raise TrimformerError(f"Layers of kind {cls.kind} have no window beside their pattern, got {shape}.")
        read(shape.own.get(PATTERN)).check(shape.heads)

    @classmethod
    def check_in(cls, config: TrimformerConfig, shape: LayerShape) -> None:
        read(shape.own[PATTERN]).check(shape.heads, config.max_tokens)

    @classmethod
    def sees_all(cls, shape: LayerShape) -> bool:
        return False

    @classmethod
    def own_of(cls, shape: LayerShape, heads: Sequence[int]) -> dict[str, Any]:
        return super().own_of(shape, heads) | {PATTERN: written(read(shape.own[PATTERN]).of_heads(heads))}

    @classmethod
    def knots(cls, config: TrimformerConfig, plain: LayerShape) -> Iterator[tuple[str, int, LayerShape]]:
        """Of the patterns that the model has; those that are computed in the same way are timed once."""
        patterns = [cls.pattern_of(shape) for shape in config.shapes if shape.attention == cls.kind]
        for pattern in dict.fromkeys(map(_timed_as, patterns)):
            for name, size, shape in super().knots(config, plain):
                timed = cls.shaped(shape, pattern=written(pattern))
                yield cls.piece(timed) + name.removeprefix(cls.piece(shape)), size, timed

    @classmethod
    def piece(cls, shape: LayerShape) -> str:
        band, name = cls.pattern_of(shape).band, super().piece(shape)
        return name if band is None else f"{name} within {band.reach} and {band.first} first"

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedSparse(self, positions, first_only)


def _timed_as(pattern: Pattern) -> Pattern:
    """A pattern for any number of heads that is computed in the same way."""
    if pattern.band is None:
        return NoDiagonal()
    window = max(1, 2 * pattern.band.reach)
    return Longformer(window, pattern.band.first) if pattern.band.first else Window(window)


class ExportedSparse(ExportedAttention):
    """The same with the mask made in the graph from n, once for all layers of the same pattern."""

    def __init__(self, attention: SparseAttention, positions: Any, first_only: bool) -> None:
        super().__init__(attention, positions, first_only)
        assert attention.pattern is not None
        self.pattern = attention.pattern

    def masked(self, scores: Tensor, shared: ExportedTokens) -> Tensor:
        whose = self.pattern, self.heads
        if whose not in shared.kept:
            shared.kept[whose] = self.pattern.allowed(scores.shape[-1], self.heads, scores.device)
        kept = shared.kept[whose][:, : scores.shape[-2]]
        removed = REMOVED_SCORE + ((1 - shared.mask) * PADDED_SCORE)[:, None, None]
        return scores.where(kept, removed)
