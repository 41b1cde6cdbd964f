"""Whether a tokenizer fits the encoder that it lies beside, and reads texts as its own file says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import TrimformerError
from .config import shortened

MOST_TEXTS = 50
"""So many texts are looked at."""
MANY_UNKNOWN = 0.2
"""Share of unknown tokens above which texts are of another language or script than the tokenizer."""


def check_length(tokenizer: Any, folder: Path) -> None:
    """Refuse a longest input that means nothing."""
    longest: Any = tokenizer.model_max_length
    if not isinstance(longest, int | float) or math.isnan(longest) or longest < 1:
        raise TrimformerError(
            f"model_max_length in {folder / 'tokenizer_config.json'} is {shortened(longest)}: write the longest input "
            "in tokens there, such as 512."
        )


class Tables(Protocol):
    """A configuration, as far as it says what the encoder has embeddings for."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def type_vocab_size(self) -> int: ...


def fit(tokenizer: Any, config: Tables, folder: Path) -> None:
    """Refuse a tokenizer whose ids the encoder in this folder cannot have; segments it lacks are dropped."""
    last, token = max(((number, token) for token, number in tokenizer.get_vocab().items()), default=(0, ""))
    if last >= config.vocab_size:
        raise TrimformerError(
            f"The tokenizer in {folder} gives {shortened(token)} the id {last}, and the encoder has embeddings for the "
            f"ids below {config.vocab_size} only: resize them (resize_token_embeddings) and train, or take the "
            "tokenizer that was saved with the weights."
        )
    if config.type_vocab_size < 2:
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        tokenizer.model_input_names = names
    name_inputs(tokenizer)


def name_inputs(tokenizer: Any) -> None:
    """Let the tokenizer's settings say what it makes, which else only its class in transformers knows."""
    tokenizer.init_kwargs["model_input_names"] = list(tokenizer.model_input_names)


def check_ids(ids: np.ndarray, types: np.ndarray | None, config: Tables) -> None:
    """Refuse tokens or segments, in any shape, that the encoder has no embeddings for.

    A tokenizer that is read from a model's folder is checked there; one that a program brings along, only by this.
    """
    if ids.size and int(ids.max()) >= config.vocab_size:
        raise TrimformerError(
            f"The tokenizer gave the id {int(ids.max())}, and the encoder has embeddings for the ids below "
            f"{config.vocab_size} only: take the tokenizer that was saved with the weights."
        )
    if types is not None and types.size and int(types.max()) >= max(1, config.type_vocab_size):
        raise TrimformerError(
            f"The tokenizer gave the segment {int(types.max())}, and the encoder has {config.type_vocab_size}: take "
            "the tokenizer that was saved with the weights."
        )


def some_texts(rows: Sequence[Any]) -> list[str]:
    """The first rows as texts that :func:`reading_notes` takes: texts, couples of texts, or lists of words."""
    return [row if isinstance(row, str) else " ".join(row) for row in rows[:MOST_TEXTS]]


def reading_notes(tokenizer: Any, folder: Path | None, texts: Sequence[str]) -> list[str]:
    """What is odd about the way in which it reads these texts: otherwise than its file says, or mostly unknown.

    folder: where the file is; None for a tokenizer that was made without one.
    """
    notes = []
    built = getattr(tokenizer, "backend_tokenizer", None)
    if built is None:
        ids = [tokenizer.encode(text, add_special_tokens=False, verbose=False) for text in texts]
    else:
        ids = _ids(built, texts)
    file = None if folder is None else folder / "tokenizer.json"
    if file is not None and file.is_file() and hasattr(tokenizer, "from_pretrained"):  # else made of that file alone
        from tokenizers import Tokenizer

        own = _ids(Tokenizer.from_file(str(file)), texts)
        different = sum(a != b for a, b in zip(own, ids, strict=True))
        if different:
            notes.append(
                f"The tokenizer that transformers makes of {folder} ({type(tokenizer).__name__}) reads {different} of "
                f"{len(ids)} texts otherwise than tokenizer.json says: if that file is the right one, set "
                "tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json."
            )
    tokens = [number for row in ids for number in row]
    unknown = tokens.count(tokenizer.unk_token_id) if tokenizer.unk_token_id is not None else 0
    if unknown > MANY_UNKNOWN * len(tokens):
        notes.append(
            f"{100 * unknown / len(tokens):.0f} % of the tokens of the first {len(ids)} texts are unknown to the "
            "tokenizer, so that the model cannot see what they say: take an encoder of the texts' language and script."
        )
    return notes


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of whole texts; what calls or a file left behind of cutting and padding is undone."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [one.ids for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
