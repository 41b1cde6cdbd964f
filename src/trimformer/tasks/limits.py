"""How long an input may be, and which part of a longer one stays, where nobody says otherwise."""

from __future__ import annotations

from typing import Literal

Truncation = Literal["head", "tail", "both"]

MAX_LENGTH, SHORTEST = 128, 8
"""Tokens of a row where neither the task nor the model says otherwise, and the fewest that there may be."""
STRIDE = 64
"""Tokens that neighbouring windows of a long context have in common, unless a task or a model says otherwise."""
