"""Spans of time as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def seconds(value: Any) -> Any:
    """Seconds of a text such as ``2h``, ``1h30m`` or ``45s``; other values stay as they are.

    Raises ValueError where it cannot be read.
    """
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", value)
    if not parts or "".join(number + unit for number, unit in parts) != value.replace(" ", ""):
        raise ValueError(f"{value!r} is not a duration: write 2h, 45m or 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


Seconds = Annotated[float, BeforeValidator(seconds)]
"""A setting in seconds that may be written as ``2h``."""
