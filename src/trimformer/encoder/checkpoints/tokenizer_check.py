"""Whether a tokenizer fits the encoder that it lies beside, and reads texts as its own file says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from ...errors import TrimformerError
from ..shape.config import TrimformerConfig
from .config_file import CONFIG, read_config, shortened

MOST_TEXTS = 50
"""So many texts are looked at."""
MANY_UNKNOWN = 0.2
"""Share of unknown tokens above which texts are of another language or script than the tokenizer."""


def fit(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Refuse a tokenizer whose ids or lengths the encoder in this folder cannot have; segments it lacks are dropped."""
    longest: Any = tokenizer.model_max_length
    if not isinstance(longest, int | float) or math.isnan(longest) or longest < 1:
        raise TrimformerError(
            f"model_max_length in {folder / 'tokenizer_config.json'} is {shortened(longest)}: write the longest input "
            "in tokens there, such as 512."
        )
    if not (folder / CONFIG).is_file():
        return
    config = read_config(folder)
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


def check_ids(ids: np.ndarray, types: np.ndarray | None, config: TrimformerConfig) -> None:
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


def reading_notes(tokenizer: PreTrainedTokenizerBase, folder: Path | None, texts: Sequence[str]) -> list[str]:
    """What is odd about the way in which it reads these texts: otherwise than its file says, or mostly unknown.

    folder: where the file is; None for a tokenizer that was made without one.
    """
    notes = []
    file = None if folder is None else folder / "tokenizer.json"
    built = getattr(tokenizer, "backend_tokenizer", None)
    ids = [tokenizer.encode(text, add_special_tokens=False, verbose=False) for text in texts]
    if file is not None and file.is_file() and built is not None:
        stored = Tokenizer.from_file(str(file))
        stored.no_padding()  # a call may have left its own behind when the file was saved
        stored.no_truncation()
        own = [one.ids for one in stored.encode_batch(list(texts), add_special_tokens=False)]
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
