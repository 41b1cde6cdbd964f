"""Patterns that are written down, not learned. i is the place of a query, j that of a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ...shape.kinds import PATTERNS
from .base import ByDistance, Pattern, whole

STRIDE = 11
"""About the root of 128, which Child et al. advise for the stride."""
LARGE_POWER = 2**20
PRIME = 2_039
"""Products of numbers below it, as the power, stay below 2^22: OpenVINO divides whole numbers in fp32."""


@PATTERNS.add("no-diagonal")
@dataclasses.dataclass(frozen=True)
class NoDiagonal(ByDistance):
    """i ≠ j (Shi et al., "SparseBERT", 2021)."""

    about = "all but the token itself"

    def keeps(self, distance: Tensor) -> Tensor:
        return (distance > 0)[None]


@PATTERNS.add("window")
@dataclasses.dataclass(frozen=True)
class Window(ByDistance):
    """|i - j| <= window // 2: as ``window`` of a layer's shape."""

    about = "the nearest tokens, half a window to both sides"
    examples: ClassVar[tuple[Mapping[str, int], ...]] = ({"window": 4},)

    window: int = whole(128)

    @property
    def reach(self) -> int:
        return self.window // 2

    def keeps(self, distance: Tensor) -> Tensor:
        return (distance <= self.reach)[None]


@PATTERNS.add("longformer")
@dataclasses.dataclass(frozen=True)
class Longformer(Window):
    """A window, and tokens that attend to all and are attended by all (Beltagy, Peters and Cohan, 2020).

    first: so many. Their queries and keys are those of the window: no weights are new.
    """

    about = "a window, and the first tokens with all"
    examples = ({"window": 4}, {"window": 2, "first": 3})

    first: int = whole(1)

    @property
    def strips(self) -> int:
        return self.first


@PATTERNS.add("star")
@dataclasses.dataclass(frozen=True)
class Star(ByDistance):
    """|i - j| <= 1 or i = 0 or j = 0 (Guo et al., "Star-Transformer", 2019)."""

    about = "the neighbours, and the first token with all"

    @property
    def strips(self) -> int:
        return 1

    @property
    def reach(self) -> int:
        return 1

    def keeps(self, distance: Tensor) -> Tensor:
        return (distance <= 1)[None]


@PATTERNS.add("strided")
@dataclasses.dataclass(frozen=True)
class Strided(ByDistance):
    """|i - j| < stride or (i - j) mod stride = 0 (Child et al., 2019, section 4.2; here to both sides)."""

    about = "the nearest tokens, and every so many farther ones"
    examples = ({"stride": 3},)

    stride: int = whole(STRIDE)

    def keeps(self, distance: Tensor) -> Tensor:
        return ((distance < self.stride) | (distance % self.stride == 0))[None]


@PATTERNS.add("logsparse")
@dataclasses.dataclass(frozen=True)
class LogSparse(ByDistance):
    """i = j or |i - j| a power of two (Li et al., 2019, section 4.2; here to both sides)."""

    about = "the token itself, and those 1, 2, 4, 8, … away"

    def keeps(self, distance: Tensor) -> Tensor:
        return (LARGE_POWER % distance.clamp(min=1) == 0)[None]  # only powers of two divide one


@PATTERNS.add("fixed")
@dataclasses.dataclass(frozen=True)
class Fixed(Pattern):
    """⌊i / block⌋ = ⌊j / block⌋ or j mod block >= block - summary (Child et al., 2019, section 4.2; to both sides)."""

    about = "the tokens of the same block, and the last ones of each block"
    examples = ({"block": 3}, {"block": 4, "summary": 2})

    block: int = whole(STRIDE)
    summary: int = whole(1)

    def allowed(self, n: int, heads: int, device: torch.device) -> Tensor:
        places = torch.arange(n, device=device)
        blocks = places // self.block
        return ((blocks[:, None] == blocks) | (places % self.block >= self.block - self.summary))[None]


@PATTERNS.add("bigbird")
@dataclasses.dataclass(frozen=True)
class BigBird(Pattern):
    """A window, first tokens with all, and random links between tokens (Zaheer et al., 2020, section 2).

    Each token is linked, in both directions, with ``random`` tokens before it, which ``seed`` decides; some may be the
    same. The paper draws keys among all tokens of a text: padding would change them.
    """

    about = "a window, the first tokens with all, and random pairs"
    examples = ({"window": 2, "random": 2},)

    window: int = whole(128)
    first: int = whole(1, least=0)
    random: int = whole(3, least=0)
    seed: int = whole(0, least=0)

    @property
    def strips(self) -> int:
        return self.first

    def allowed(self, n: int, heads: int, device: torch.device) -> Tensor:
        places = torch.arange(n, device=device)
        dense = places < self.first
        kept = ((places[:, None] - places).abs() <= self.window // 2) | dense | dense[:, None]
        for draw in range(self.random):
            linked = drawn(places, draw, self.seed)[:, None] == places
            kept = kept | linked | linked.T
        return kept[None]


def drawn(places: Tensor, draw: int, seed: int) -> Tensor:
    """For each place another one before it, drawn by arithmetic that is the same in every runtime; for 0 itself."""
    start = (7_919 * draw + 104_729 * seed + 1) % PRIME
    mixed = (places % PRIME * 503 + places // PRIME * 331 + start) % PRIME
    for _ in range(3):
        before, mixed = mixed, (mixed * mixed + start) % PRIME
    return (before * PRIME + mixed) % places.clamp(min=1)
