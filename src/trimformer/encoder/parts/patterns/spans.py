"""Windows of which each head has its own (Sukhbaatar et al., "Adaptive Attention Span in Transformers", 2019)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ....errors import TrimformerError
from ...shape.kinds import PATTERNS
from .base import ByDistance, one_for_each


@PATTERNS.add("spans")
@dataclasses.dataclass(frozen=True)
class Spans(ByDistance):
    """|i - j| is at most the span of the head.

    spans: one for each head, at least 0: a head with 0 attends to the token itself.
    special: whether the first token attends to all and is attended by all.
    """

    about = "a window of its own for each head"
    examples = ({"spans": [0, 3]}, {"spans": [2, 1], "special": True})

    spans: tuple[int, ...]
    special: bool = False

    @property
    def strips(self) -> int:
        return int(self.special)

    @property
    def reach(self) -> int:
        return max(self.spans)

    @property
    def distances(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(range(span + 1)) for span in self.spans)

    def keeps(self, distance: Tensor) -> Tensor:
        spans = torch.tensor(self.spans, device=distance.device)
        return distance <= spans.reshape(-1, *[1] * distance.ndim)

    def check(self, heads: int, tokens: int | None = None) -> None:
        good = isinstance(self.spans, tuple) and all(type(span) is int and span >= 0 for span in self.spans)
        if not good or not isinstance(self.special, bool):
            raise TrimformerError(
                "The pattern 'spans' needs for each head a whole number of at least 0, and special as true or false, "
                f"got {self.spans!r} and {self.special!r}."
            )
        one_for_each(self.spans, heads, "spans")
        if tokens is not None and self.reach >= tokens:
            raise TrimformerError(
                f"The pattern 'spans' keeps the distance {self.reach}, but a text has at most {tokens} tokens, which "
                f"are {tokens - 1} apart: take {tokens - 1} for spans above."
            )

    def of_heads(self, heads: Sequence[int]) -> Self:
        return dataclasses.replace(self, spans=tuple(self.spans[head] for head in heads))
