"""A toy model's words, two of which are near each other, and rows of them."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from trimformer.tasks.augmentation import Reader
from trimformer.tasks.data import Examples

ANGLES = {"film": 0.0, "movie": 0.1, "picture": 0.3, "good": 2.0, "fine": 2.1, "bad": 4.0, "dull": 4.1, "##ly": 0.05}
"""Of each word's vector in a plane: the cosine falls with the distance."""


def reader(mask: str | None = "[MASK]") -> Reader:
    """A tokenizer of whole words and one piece, `##ly`, with vectors of length 2 in a plane."""
    special = ["[PAD]", "[UNK]", *([mask] if mask else [])]
    words = [*special, *ANGLES, "the", "was", "not"]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", mask_token=mask)
    angles = torch.tensor([ANGLES.get(word, 3.0) for word in words])
    return Reader(tokenizer, 2 * torch.stack([angles.cos(), angles.sin()], dim=1))


def rows(*texts: str, pairs: list[str] | None = None) -> Examples:
    return Examples(list(texts), pairs, [i % 2 for i in range(len(texts))])
