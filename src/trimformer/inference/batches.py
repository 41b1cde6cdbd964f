"""Rows as padded batches, fast: a window of rows is tokenised at once and cut into batches of like lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..saved.kinds import Kind
from ..tasks.cuts import Cuts
from ..tasks.data import Examples
from ..tasks.encoding.encoded import Encoded, padding_id
from ..tasks.encoding.texts import tokenise as tokenise_texts
from ..tasks.encoding.tokenizers import AnyTokenizer, fast_form, makes_types
from ..tasks.kinds import KINDS

BATCH_TOKENS = 512
"""Tokens of a batch. On CPUs the activations of more leave the cache, and fewer do not fill the matrix products."""

Row = str | tuple[str, str] | list[str]
"""A text, a couple (text and second text, or question and context), or the words of a sentence."""


def tokenise(kind: Kind, rows: Sequence[Row], tokenizer: AnyTokenizer, cuts: Cuts) -> Encoded:
    """Token ids of rows without labels; long texts are cut as ``cuts`` say, contexts into windows.

    Words that are not divided yet are divided at white space.
    Raises TrimformerError for a tokenizer that cannot do this, and for a question without a context.
    """
    pad_id, task_kind = padding_id(tokenizer), KINDS[kind]
    examples = task_kind.examples(rows)
    if task_kind.per_token:
        arrays = task_kind.tokenise(examples, tokenizer, **cuts.read_by(task_kind.reads))
    else:
        arrays = _texts(rows, tokenizer, cuts)
    return Encoded.from_arrays(arrays, np.empty(0), pad_id, kind, examples)


def _texts(rows: Sequence[Any], tokenizer: AnyTokenizer, cuts: Cuts) -> dict[str, np.ndarray]:
    """As the tokenizer itself cuts, which is faster than to cut what it gives."""
    max_length = cuts.max_length
    if cuts.truncation == "both":  # which no tokenizer can do
        texts, pairs = (list(rows), None) if isinstance(rows[0], str) else map(list, zip(*rows, strict=True))
        return tokenise_texts(Examples(texts, pairs, [None] * len(texts)), tokenizer, max_length, "both")
    has_types, fast = makes_types(tokenizer), fast_form(tokenizer)
    if fast is None:
        coded = [
            tokenizer(*([row] if isinstance(row, str) else row), truncation=True, max_length=max_length) for row in rows
        ]
        ids, types = [one["input_ids"] for one in coded], [one.get("token_type_ids", []) for one in coded]
    else:
        fast.enable_truncation(max_length, direction="left" if cuts.truncation == "tail" else "right")
        encodings = fast.encode_batch_fast(list(rows))
        ids, types = [one.ids for one in encodings], [one.type_ids for one in encodings] if has_types else []
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    arrays = {"ids": _flat(ids, offsets[-1]), "offsets": offsets}
    if has_types:
        arrays["types"] = _flat(types, offsets[-1])
    return arrays


def _flat(lists: list[list[int]], size: int) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), np.int32, size)


def batches(lengths: np.ndarray, size: int | None) -> Iterator[np.ndarray]:
    """Indices of the rows of each batch, the longest rows first; ``size`` rows, None = as many as suit the CPU."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        end = start + (size or max(1, BATCH_TOKENS // max(1, int(lengths[order[start]]))))
        yield order[start:end]
        start = end


def inputs(data: Encoded, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The model's inputs for these rows, int64 (batch, longest), padded on the right."""
    lengths = data.offsets[rows + 1] - data.offsets[rows]
    columns = np.arange(lengths.max())
    real = columns < lengths[:, None]
    at = np.where(real, data.offsets[rows][:, None] + columns, 0)
    arrays = {"input_ids": np.where(real, data.ids[at], data.pad_id), "attention_mask": real}
    if data.types is not None:
        arrays["token_type_ids"] = np.where(real, data.types[at], 0)
    return {name: array.astype(np.int64) for name, array in arrays.items()}
