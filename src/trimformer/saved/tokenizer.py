"""The tokenizer in a model's folder, read from tokenizer.json and tokenizer_config.json alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..errors import TrimformerError
from .config import SavedConfig, read_json
from .modules import read_as_there
from .tokenizer_check import check_length, fit

TOKENIZER, SETTINGS, SPECIAL = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
UNLIMITED = int(1e30)
"""What transformers writes for the longest input where a tokenizer names none."""
PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""The classes of transformers that make no segments unless the settings say so."""


@dataclasses.dataclass
class SavedTokenizer:
    """A fast tokenizer with what its folder says of it, under the names that tokenizers of transformers have.

    init_kwargs: all of its settings.
    """

    backend_tokenizer: Tokenizer
    name_or_path: str
    model_input_names: list[str]
    model_max_length: Any
    truncation_side: str
    pad_token_id: int | None
    unk_token_id: int | None
    init_kwargs: dict[str, Any]

    def get_vocab(self) -> dict[str, int]:
        """Ids by token, added ones too."""
        return self.backend_tokenizer.get_vocab()


def read_tokenizer(folder: Path, config: SavedConfig) -> SavedTokenizer:
    """The tokenizer of an encoder with this configuration, which has a tokenizer.json.

    Raises TrimformerError for a file that cannot be read, and for ids and lengths that the encoder cannot have.
    """
    try:
        inner = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises Exception itself
        raise TrimformerError(
            f"{folder / TOKENIZER} is not a readable tokenizer ({error}): save it there with tokenizer.save_pretrained."
        ) from error
    inner.no_truncation()  # a call may have left its own behind when the file was saved
    inner.no_padding()
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    named = (read_json(folder / SPECIAL) if (folder / SPECIAL).is_file() else {}) | settings
    inner.encode_special_tokens = bool(settings.get("split_special_tokens", False))
    padding, unknown = _id(inner, named.get("pad_token")), _id(inner, named.get("unk_token"))
    tokenizer = SavedTokenizer(
        backend_tokenizer=inner,
        name_or_path=str(folder),
        model_input_names=_inputs(settings),
        model_max_length=settings.get("model_max_length", UNLIMITED),
        truncation_side=settings.get("truncation_side", "right"),
        pad_token_id=config.pad_token_id if padding is None else padding,
        unk_token_id=unknown,
        init_kwargs=settings,
    )
    check_length(tokenizer, folder)
    fit(tokenizer, config, folder)
    read_as_there(tokenizer, folder)
    return tokenizer


def _inputs(settings: dict[str, Any]) -> list[str]:
    """What the tokenizer makes. A folder that says nothing of it has segments where its class is made for a model."""
    plain = settings.get("tokenizer_class") in PLAIN
    return list(settings.get("model_input_names") or ["input_ids", *(() if plain else ("token_type_ids",))])


def _id(tokenizer: Tokenizer, token: Any) -> int | None:
    """The id of a special token, which files write as text or as an object with settings."""
    text = token.get("content") if isinstance(token, dict) else token
    return tokenizer.token_to_id(text) if isinstance(text, str) else None
