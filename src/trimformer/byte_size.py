"""Sizes on the disk as people write them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
NO_SIZE = "{!r} is not a size: write 10MB, 800kB or 1.5GB"


def size_in_bytes(value: Any) -> Any:
    """Bytes of a text such as ``10MB`` or ``1.5 GB``, in powers of 1,000; other values stay as they are.

    Raises ValueError where it cannot be read.
    """
    if isinstance(value, bool):  # which pydantic would count as 0 or 1
        raise ValueError(NO_SIZE.format(value))
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(B|kB|MB|GB)", value.strip())
    if found is None or math.isinf(size := float(found[1]) * UNITS[found[2]]):
        raise ValueError(NO_SIZE.format(value))
    return round(size)


Bytes = Annotated[int, BeforeValidator(size_in_bytes)]
"""A setting in bytes that may be written as ``10MB``."""
