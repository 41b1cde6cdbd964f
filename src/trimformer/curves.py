"""Names of curves that methods write and the report reads."""

from __future__ import annotations

ALPHA = "alpha"
"""The first word of a curve of the logits of dimensions or units, one layer behind the other."""


def aim_of(name: str) -> str:
    """The curve of what the curve of this name is to come to."""
    return f"{name} target"
