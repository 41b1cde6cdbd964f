"""No attention: the sub-layer is gone, and nothing is in its place."""

from __future__ import annotations

from ...shape.kinds import ATTENTION
from .base import NONE, Attention


@ATTENTION.add(NONE)
class NoAttention(Attention):
    """No weights; nothing is added."""

    kind = NONE
    about = "removed, with nothing in its place"
    mixes = False
    has_values = False
    stands_in = True
