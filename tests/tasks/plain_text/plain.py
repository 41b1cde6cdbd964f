"""A tokenizer with a mask token, and plain text for it."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from tests.tinymodel import FILLER, words_tokenizer


def masking_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, with [MASK]."""
    tokenizer = words_tokenizer()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    return tokenizer


def write_text(path: Path, lines: int = 60) -> Path:
    """A text a line, no two alike."""
    words = [[FILLER[(i >> (3 * j)) % 8] for j in range(3)] + FILLER[: 1 + i % 5] for i in range(lines)]
    path.write_text("\n".join(map(" ".join, words)) + "\n", encoding="utf-8")
    return path
