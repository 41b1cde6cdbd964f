"""Whether a file answers as the model does in fp32: the rule by which files are recommended, everywhere the same."""

from __future__ import annotations

import math

import numpy as np

from ..tasks.encoding.encoded import Encoded
from ..tasks.kinds import KINDS

LEAST = 0.98
"""A file that gives fewer answers as fp32 does is warned of, and not recommended."""


def agreement(data: Encoded, exact: np.ndarray, other: np.ndarray) -> float:
    """The share of the answers on these rows that are the same by two logits, the first of which are of fp32."""
    return float(KINDS[data.kind].same(data, exact, other).mean())


def agrees(share: float | None) -> bool:
    """Whether a file with this agreement may be recommended; one that nothing is known of is not judged here."""
    return share is None or share >= LEAST


def percent(share: float) -> str:
    """An agreement as people read it, rounded down, so that what is too little does not look as if it were enough."""
    return f"{math.floor(1000 * share + 1e-9) / 10:.1f} %"


def warning(file: str, share: float, rows: str) -> str:
    """The sentence on a file that does not agree. rows: those that it was asked, such as ``validation rows``."""
    return f"WARNING: {file} answers only {percent(share)} of the {rows} as fp32 does, so that it is not recommended."
