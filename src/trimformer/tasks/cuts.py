"""Where long texts are cut: as the settings say, else as the model was saved with, else by the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from ..errors import TrimformerError
from .data import called
from .encoding.encoded import Encoded
from .settings import MAX_LENGTH, SHORTEST, STRIDE, TaskSettings, Truncation

KEY = "trimformer"
"""Of tokenizer_config.json: what transformers has no name for."""


class Cuts(NamedTuple):
    """max_length: tokens of a row; truncation: which part of a long text stays; stride: see `TaskSettings`."""

    max_length: int
    truncation: Truncation
    stride: int

    def read_by(self, reads: Sequence[str]) -> dict[str, Any]:
        """Those that a kind of task cuts by."""
        return {name: value for name, value in self._asdict().items() if name == "max_length" or name in reads}


def cuts_of(settings: TaskSettings, tokenizer: PreTrainedTokenizerBase, longest: int, *, has_head: bool = True) -> Cuts:
    """What the settings leave open is read from the tokenizer, where a run saves it.

    longest: tokens that the encoder can take. has_head: whether the tokenizer lies beside a model for a task; the
    length of a bare encoder is only what it can take, so that the default is meant.

    Raises TrimformerError for saved values that mean nothing.
    """
    saved = _saved(tokenizer)
    length = settings.max_length or (saved_length(tokenizer) if has_head else None) or MAX_LENGTH
    return Cuts(
        min(length, longest),
        settings.truncation or saved["truncation"],
        saved["stride"] if settings.stride is None else settings.stride,
    )


def cuts_to_predict(tokenizer: PreTrainedTokenizerBase, longest: int, max_length: int | None = None) -> Cuts:
    """How a saved model cuts texts that it is asked about: as it was scored, or as it can where that is not known.

    max_length: tokens, instead of those. Raises TrimformerError as :func:`cuts_of`.
    """
    wanted = max_length or saved_length(tokenizer) or longest
    return cuts_of(TaskSettings(), tokenizer, longest)._replace(max_length=min(wanted, longest))


def saved_length(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The longest input that the tokenizer names; None where it names none. Raises TrimformerError below 8 tokens."""
    length = tokenizer.model_max_length
    if length >= VERY_LARGE_INTEGER:
        return None
    if length < SHORTEST:
        raise TrimformerError(
            f"The model_max_length in tokenizer_config.json is {length}, which leaves no room for a text: write at "
            f"least {SHORTEST} there, or set max_length of the task."
        )
    return int(length)


def save_cuts(tokenizer: PreTrainedTokenizerBase, cuts: Cuts) -> None:
    """Write into the tokenizer's settings how texts were cut. transformers knows no cut from the middle: there it
    cuts on the right."""
    side = "left" if cuts.truncation == "tail" else "right"
    tokenizer.model_max_length, tokenizer.truncation_side = cuts.max_length, side
    # Only what stands here is saved, as the attributes have it.
    tokenizer.init_kwargs |= {"truncation_side": side, KEY: {"truncation": cuts.truncation, "stride": cuts.stride}}


def cut_notes(data: Encoded, what: str = "validation") -> list[str]:
    """How many rows were cut and where, as a sentence; empty where none was."""
    if not data.truncated:
        return []
    rows = called(data.kind)
    stays = {"tail": ", of which the tail stays", "both": ", of which head and tail stay"}.get(data.truncation, "")
    where = "" if data.kind == "spans" else f" at {data.max_length} tokens{stays}"
    return [f"{data.truncated} of {len(data.examples)} {what} {rows} were cut{where}."]


def _saved(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    side: Truncation = "tail" if tokenizer.truncation_side == "left" else "head"
    found = tokenizer.init_kwargs.get(KEY, {})
    if not isinstance(found, dict):
        raise _wrong(found)
    values = {"truncation": side, "stride": STRIDE} | found
    stride = values["stride"]
    if values["truncation"] not in get_args(Truncation) or type(stride) is not int or stride < 0:
        raise _wrong(found)
    # Whoever sets the side of a tokenizer afterwards means it.
    return values if values["truncation"] == "both" and side == "head" else values | {"truncation": side}


def _wrong(found: Any) -> TrimformerError:
    return TrimformerError(
        f"{KEY} in tokenizer_config.json is {str(found)[:80]}: write a truncation of head, tail or both and a stride "
        "of at least 0 there, or remove it."
    )
