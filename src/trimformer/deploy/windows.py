"""Texts as padded batches, fast: a window of rows is tokenised in one call and cut into batches of like lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..errors import TrimformerError

BATCH_TOKENS = 512
"""Tokens of a batch. On CPUs the activations of more leave the cache, and fewer do not fill the matrix products."""


@dataclasses.dataclass(frozen=True)
class Window:
    """Tokenised rows laid end to end: row i is ``ids[offsets[i]:offsets[i + 1]]``.

    ids, types: int64 (tokens,); types is None where the tokenizer makes none. offsets: int64 (rows + 1,).
    """

    ids: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray
    pad_id: int

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 (rows,)."""
        return np.diff(self.offsets)

    def batches(self, size: int | None) -> Iterator[np.ndarray]:
        """Indices of the rows of each batch, the longest rows first; ``size`` rows, None = as many as suit the CPU."""
        lengths = self.lengths
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            end = start + (size or max(1, BATCH_TOKENS // max(1, int(lengths[order[start]]))))
            yield order[start:end]
            start = end

    def inputs(self, rows: np.ndarray) -> dict[str, Tensor]:
        """The model's inputs for these rows, int64 (batch, longest), padded on the right."""
        lengths = self.lengths[rows]
        columns = np.arange(lengths.max())
        real = columns < lengths[:, None]
        at = np.where(real, self.offsets[rows][:, None] + columns, 0)
        inputs = {"input_ids": np.where(real, self.ids[at], self.pad_id), "attention_mask": real.astype(np.int64)}
        if self.types is not None:
            inputs["token_type_ids"] = np.where(real, self.types[at], 0)
        return {name: torch.from_numpy(array) for name, array in inputs.items()}


def tokenise(tokenizer: PreTrainedTokenizerBase, rows: Sequence[str | tuple[str, str]], max_length: int) -> Window:
    """Tokenise texts, or (text, pair) couples, cutting what is longer than ``max_length`` tokens.

    Straight through the tokenizer's own fast form: the usual call costs four times as much, in Python objects.
    Raises TrimformerError for a tokenizer without a fast form or a padding token.
    """
    fast: Any = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None or tokenizer.pad_token_id is None:
        missing = "fast form (tokenizer.json)" if fast is None else "padding token"
        raise TrimformerError(f"The tokenizer {tokenizer.name_or_path} has no {missing}: use one that has it.")
    fast.enable_truncation(max_length, direction=tokenizer.truncation_side)
    fast.no_padding()
    encodings = fast.encode_batch_fast(list(rows))
    lengths = np.fromiter(map(len, encodings), np.int64, len(encodings))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int64, offsets[-1])
    types = None
    if "token_type_ids" in tokenizer.model_input_names:
        types = np.fromiter(chain.from_iterable(e.type_ids for e in encodings), np.int64, offsets[-1])
    return Window(ids, types, offsets, int(tokenizer.pad_token_id))
