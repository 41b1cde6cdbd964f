"""Text as it may stand in a line: what a label or a file name holds must not break lines or steer a terminal."""

from __future__ import annotations

import unicodedata


def one_line(text: str) -> str:
    """Text with its control characters spelt out, line breaks and escape codes among them."""
    return "".join(repr(letter)[1:-1] if unicodedata.category(letter) == "Cc" else letter for letter in text)
