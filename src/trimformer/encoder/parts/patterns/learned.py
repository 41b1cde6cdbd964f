"""Patterns that a search finds: a mask for each head (Shi et al., "SparseBERT", 2021, section 4)."""

from __future__ import annotations

import base64
import dataclasses
import functools
import zlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ....errors import TrimformerError
from ...shape.kinds import PATTERNS
from .base import ByDistance, Pattern, one_for_each


@PATTERNS.add("offsets")
@dataclasses.dataclass(frozen=True)
class Offsets(ByDistance):
    """|i - j| is among the offsets of the head: a symmetric Toeplitz mask.

    offsets: for each head, rising. An offset that is not named is not attended, at any length. A head without offsets
    gives the mean over the real tokens.
    special: whether the first token attends to all and is attended by all. The last real token has no such exception:
    its place changes from text to text, so that it is nothing static.
    """

    about = "learned distances, for each head"
    examples = ({"offsets": [[0, 2], [1, 3]]}, {"offsets": [[1], []], "special": True})

    offsets: tuple[tuple[int, ...], ...]
    special: bool = False

    @property
    def strips(self) -> int:
        return int(self.special)

    @property
    def reach(self) -> int:
        return max((offset for own in self.offsets for offset in own), default=0)

    @property
    def distances(self) -> tuple[tuple[int, ...], ...]:
        return self.offsets

    def keeps(self, distance: Tensor) -> Tensor:
        beyond = self.reach + 1
        kept = [[offset in own for offset in range(beyond + 1)] for own in map(set, self.offsets)]
        return torch.tensor(kept, device=distance.device)[:, distance.clamp(max=beyond)]

    def check(self, heads: int, tokens: int | None = None) -> None:
        good = isinstance(self.offsets, tuple) and all(map(_rising, self.offsets)) and isinstance(self.special, bool)
        if not good:
            raise TrimformerError(
                "The pattern 'offsets' needs for each head a rising list of distances from 0 on, and special as true "
                f"or false, got {self.offsets!r} and {self.special!r}."
            )
        one_for_each(self.offsets, heads, "lists of offsets")
        if tokens is not None and self.reach >= tokens:
            raise TrimformerError(
                f"The pattern 'offsets' keeps the distance {self.reach}, but a text has at most {tokens} tokens, which "
                f"are {tokens - 1} apart: leave out the offsets above."
            )

    def of_heads(self, heads: Sequence[int]) -> Self:
        return dataclasses.replace(self, offsets=tuple(self.offsets[head] for head in heads))


@PATTERNS.add("positions")
@dataclasses.dataclass(frozen=True)
class Positions(Pattern):
    """Any mask for each head over the first ``length`` places, as it was learned there.

    masks: for each head, as :func:`packed` writes it. Beyond these places nothing was learned and nothing is masked:
    a token there attends to all and is attended by all.
    """

    about = "learned pairs of places, for each head"
    examples = ({"length": 5, "masks": ["eNrbsP02AwAGnwJD", "eNrzTzjWAAAEbAH2"]},)

    length: int
    masks: tuple[str, ...]

    def allowed(self, n: int, heads: int, device: torch.device) -> Tensor:
        places = torch.arange(n, device=device)
        known = places.clamp(max=self.length - 1)
        masks = torch.stack([_unpacked(mask, self.length) for mask in self.masks]).to(device)
        beyond = places >= self.length
        return masks[:, known][:, :, known] | beyond | beyond[:, None]

    def check(self, heads: int, tokens: int | None = None) -> None:
        if type(self.length) is not int or self.length < 1 or not isinstance(self.masks, tuple):
            raise TrimformerError(
                f"The pattern 'positions' needs a length of at least 1 and a mask for each head, got {self.length!r}."
            )
        one_for_each(self.masks, heads, "masks")
        for mask in self.masks:
            _unpacked(mask, self.length)

    def of_heads(self, heads: Sequence[int]) -> Self:
        return dataclasses.replace(self, masks=tuple(self.masks[head] for head in heads))


def packed(mask: Tensor) -> str:
    """A mask of one head, boolean (length, length), as text: its bits row by row, compressed, in base 64."""
    bits = np.packbits(mask.bool().flatten().cpu().numpy())
    return base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode()


@functools.lru_cache(maxsize=1024)
def _unpacked(text: str, length: int) -> Tensor:
    """The mask that :func:`packed` has written; raises TrimformerError where it is none of this length."""
    size, remedy = length * length, "take the config.json that was saved with the model"
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size // 8 + 2)
    except (zlib.error, TypeError, ValueError) as error:
        raise TrimformerError(f"A mask of the pattern 'positions' is damaged ({error}): {remedy}.") from error
    if len(raw) != -(-size // 8):
        raise TrimformerError(f"A mask of the pattern 'positions' is not one of {length} places: {remedy}.")
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=size)
    return torch.from_numpy(bits.astype(bool).reshape(length, length))


def _rising(own: Any) -> bool:
    if not isinstance(own, tuple) or not all(type(offset) is int and offset >= 0 for offset in own):
        return False
    return list(own) == sorted(set(own))
