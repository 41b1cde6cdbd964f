"""Rising whole numbers as a short text: 0, 1, 2, 3, 6 are ``0-3,6``."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable

from ...errors import TrimformerError

FORM = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def to_ranges(numbers: Iterable[int]) -> str:
    """The text of rising numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


@functools.lru_cache(maxsize=1024)
def from_ranges(text: str) -> tuple[int, ...]:
    """The numbers of a text; raises TrimformerError where they are none, or do not rise."""
    if not isinstance(text, str) or not FORM.fullmatch(text):
        raise TrimformerError(f"Cannot read the dimensions {text!r}: write numbers and ranges, for example 0-3,6.")
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    if not numbers or any(one >= other for one, other in itertools.pairwise(numbers)):
        raise TrimformerError(f"The dimensions {text!r} do not rise: name each once, from the lowest on.")
    return tuple(numbers)
