"""How texts are read: by a tokenizer's fast form where it has one, else through transformers.

The usual call of transformers costs four times as much, in Python objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

AnyTokenizer = Any
"""A tokenizer of transformers, fast or slow, or a ``SavedTokenizer``."""


class Read(NamedTuple):
    """One whole row. types: if the tokenizer makes them. sequences: the text of each token, (tokens,), -1: special."""

    ids: list[int]
    types: list[int] | None
    sequences: Callable[[], np.ndarray]


def fast_form(tokenizer: AnyTokenizer) -> Any:
    """The tokenizer's fast form, which neither cuts nor pads; None where it is written in Python."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        fast.no_truncation()
        fast.no_padding()
    return fast


def makes_types(tokenizer: AnyTokenizer) -> bool:
    """Whether the tokenizer says which text a token is of."""
    return "token_type_ids" in tokenizer.model_input_names


def read_texts(tokenizer: AnyTokenizer, texts: Sequence[str], pairs: Sequence[str] | None) -> list[Read]:
    """Texts, or couples of them, with special tokens, uncut."""
    fast, typed = fast_form(tokenizer), makes_types(tokenizer)
    if fast is None:
        return _read_slowly(tokenizer, texts, pairs)
    rows = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
    return [Read(one.ids, one.type_ids if typed else None, partial(_sequences, one)) for one in fast.encode_batch(rows)]


def _sequences(encoding: Any) -> np.ndarray:
    return np.array([-1 if text is None else text for text in encoding.sequence_ids])


def _read_slowly(tokenizer: AnyTokenizer, texts: Sequence[str], pairs: Sequence[str] | None) -> list[Read]:
    both = None if pairs is None else list(pairs)
    coded = tokenizer(list(texts), both, truncation=False, return_attention_mask=False, verbose=False)
    types = coded.get("token_type_ids") or [None] * len(texts)
    rows = zip(coded["input_ids"], types, strict=True)

    def sequences(at: int) -> np.ndarray:
        # It does not tell, so we let it put its special tokens around marks: -1 for text 0, -2 for text 1.
        parts = [texts[at]] if pairs is None else [texts[at], pairs[at]]
        marks = [[-1 - i] * len(tokenizer.tokenize(part)) for i, part in enumerate(parts)]
        return np.maximum(-1 - np.array(tokenizer.build_inputs_with_special_tokens(*marks)), -1)

    return [Read(ids, kinds, partial(sequences, at)) for at, (ids, kinds) in enumerate(rows)]
