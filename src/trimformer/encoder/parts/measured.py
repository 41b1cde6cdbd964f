"""The sizes at which a part is timed for the table of the device."""

from __future__ import annotations


def knots(most: int, least: int = 1) -> list[int]:
    """The sizes that are measured; in between times are straight lines."""
    return sorted({least, max(least, most // 4), max(least, most // 2), most})
