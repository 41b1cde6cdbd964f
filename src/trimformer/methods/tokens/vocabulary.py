"""Tokens that the training texts do not use go, with their rows of the word table."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from tokenizers import Tokenizer, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ...encoder.gating.keep import axes_of
from ...encoder.model.heads import TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ...tasks.encode import encode
from ...tasks.encoding.encoded import Encoded
from ...training.settings import ObjectiveSettings
from ..base import Method, MethodSettings, Standard, register
from ..result import Result

WORDS = "encoder.embeddings.word.weight"
UNCUT = 1_000_000
"""More tokens than any row has."""
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
KINDS = ("WordPiece", "BPE", "Unigram", "WordLevel")


class VocabularySettings(MethodSettings):
    """Settings of vocabulary."""

    name: Literal["vocabulary"] = "vocabulary"
    at_least: int = Field(1, ge=1, description="times that a token occurs in the training rows for it to stay")


@register
class Vocabulary(Method):
    """Keep the special tokens and those that the training rows use; tokenizer and word table shrink."""

    name = "vocabulary"
    Settings = VocabularySettings
    trains = False
    changes_tokenizer = True
    nests = True
    # The repair compares nothing: a teacher that splits texts differently can be learned from only in some tasks.
    standard = Standard(start="dense", repair=ObjectiveSettings())

    @classmethod
    def check_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, config: TrimformerConfig) -> None:
        _content(tokenizer)

    def result(self) -> Result:
        """The model and the tokenizer without the tokens that go; raises what :meth:`shortened` raises."""
        rows, smaller = self.shortened()
        tokenizer = self.context.tokenizer
        assert tokenizer is not None, "it was shortened"
        notes = [self._saved(len(rows)), self._split(tokenizer, smaller, rows)]
        return Result(with_rows(self.model, rows).cpu(), smaller, notes)

    def shortened(self) -> tuple[list[int], PreTrainedTokenizerFast]:
        """The rows of the word table that stay, in their new order, and the tokenizer without the tokens that go.

        Raises TrimformerError for a slow tokenizer, for one of an unknown kind, and for one that does not fit the
        word table.
        """
        tokenizer, config = self.context.tokenizer, self.model.config
        content = _content(tokenizer)
        assert tokenizer is not None, "it has a content"
        ids, kept, own = tokenizer.get_vocab(), self._kept(tokenizer, content), _words(content["model"])
        # Those that only the list of added tokens knows come last, because they are numbered when the others are.
        order = sorted(kept, key=lambda token: (token not in own, ids[token]))
        number, rows = {token: new for new, token in enumerate(order)}, [ids[token] for token in order]
        smaller = with_tokenizer(tokenizer, numbered(content, number))
        first = self._counted_from
        if rows[:first] != list(range(first)) or max(rows) >= config.vocab_size or smaller.get_vocab() != number:
            raise TrimformerError(
                "The ids of the tokenizer do not fit the word table of the model or cannot be counted anew: leave the "
                "stage vocabulary out."
            )
        return rows, smaller

    @property
    def _counted_from(self) -> int:
        """The ids below this one stay: where positions are counted from the padding's id, it has to stay as it is."""
        config = self.model.config
        return (config.pad_token_id or 0) + 1 if config.positions == "from_padding" else 0

    def _kept(self, tokenizer: PreTrainedTokenizerBase, content: Mapping[str, Any]) -> set[str]:
        ids = tokenizer.get_vocab()
        counts = np.bincount(self.context.train.ids, minlength=max(ids.values()) + 1)
        always = {*range(self._counted_from), *_token_ids(self.model.config.to_dict()).values()}
        used = {token for token, i in ids.items() if counts[i] >= self.settings.at_least or i in always}
        return _needed(content, used | set(tokenizer.all_special_tokens) & ids.keys())

    def _saved(self, kept: int) -> str:
        before, width = self.model.state_dict()[WORDS].shape
        megabytes = (before - kept) * width * self.model.dtype.itemsize / 1e6
        return f"{kept:,} of {before:,} rows of the word table stay, which saves {megabytes:,.2f} MB."

    def _split(self, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, rows: list[int]) -> str:
        """What becomes of rows that nothing was counted on."""
        task, examples = self.context.task, self.context.selection.examples
        # Reading leaves its length behind in a tokenizer, and the one that is saved must not cut there.
        before, after = (encode(task, examples, copy.deepcopy(tokenizer), UNCUT) for tokenizer in (old, new))
        ids, same = np.asarray(rows)[after.ids], 0
        for a, b in zip(_slices(before), _slices(after), strict=True):
            same += np.array_equal(before.ids[a], ids[b])
        unknown = [
            (read.ids == tokenizer.unk_token_id).sum() / max(1, len(read.ids))
            for read, tokenizer in ((before, old), (after, new))
        ]
        return (
            f"{len(after) - same:,} of {len(after):,} selection rows are split differently; {unknown[1]:.2%} of their "
            f"tokens are unknown, {unknown[0]:.2%} before."
        )


def _content(tokenizer: PreTrainedTokenizerBase | None) -> Any:
    """What stands in tokenizer.json; raises TrimformerError for a tokenizer that cannot be shortened."""
    if tokenizer is None or not tokenizer.is_fast:
        raise TrimformerError(
            "The method vocabulary rewrites tokenizer.json, which a slow tokenizer does not have: save its fast form "
            "beside the model."
        )
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    if content["model"]["type"] not in KINDS:
        raise TrimformerError(
            f"The tokenizer is a {content['model']['type']} model, and the method vocabulary can shorten only "
            f"{', '.join(KINDS)}: leave the stage out."
        )
    return content


def _slices(rows: Encoded) -> Iterator[slice]:
    return (slice(start, end) for start, end in zip(rows.offsets[:-1], rows.offsets[1:], strict=True))


def _token_ids(config: Mapping[str, Any]) -> dict[str, int]:
    """The ids that a configuration names."""
    return {name: i for name, i in config.items() if name.endswith("_token_id") and isinstance(i, int)}


def _words(model: Mapping[str, Any]) -> set[str]:
    """The tokens that the model of a tokenizer knows."""
    return {piece[0] for piece in model["vocab"]} if model["type"] == "Unigram" else set(model["vocab"])


def _needed(content: Mapping[str, Any], kept: set[str]) -> set[str]:
    """These, and the tokens without which they would not come out of a text as they did, or a byte would be lost."""
    model, words = content["model"], _words(content["model"])
    needed = set(kept)
    needed |= {token["content"] for token in content["added_tokens"] if token["special"]}
    needed |= {model.get("unk_token")} & words
    if model.get("byte_fallback"):
        needed |= set(BYTES) & words
    if '"ByteLevel"' in json.dumps([content["normalizer"], content["pre_tokenizer"]]):
        needed |= set(pre_tokenizers.ByteLevel.alphabet()) & words
    if model["type"] == "Unigram":
        # An unknown character scores somewhat less than the lowest piece.
        needed.add(min(model["vocab"], key=lambda piece: piece[1])[0])
        if model["unk_id"] is not None:
            needed.add(model["vocab"][model["unk_id"]][0])
    if model["type"] == "BPE":
        parts: dict[str, list[str]] = {}
        for left, right in model["merges"]:
            parts.setdefault(_merged(model, left, right), []).extend((left, right))
        waiting = list(needed)
        while waiting:
            new = set(parts.get(waiting.pop(), ())) - needed
            needed |= new
            waiting += new
    return needed


def _merged(model: Mapping[str, Any], left: str, right: str) -> str:
    return left + right.removeprefix(model["continuing_subword_prefix"] or "")


def numbered(content: dict[str, Any], number: Mapping[str, int]) -> Tokenizer:
    """The tokenizer that knows only these tokens, under these numbers."""
    model = content["model"]
    if model["type"] == "Unigram":
        unknown = model["unk_id"]
        model["unk_id"] = None if unknown is None else number[model["vocab"][unknown][0]]
        model["vocab"] = [piece for piece in model["vocab"] if piece[0] in number]
    else:
        model["vocab"] = {token: number[token] for token in model["vocab"] if token in number}
    if model["type"] == "BPE":
        model["merges"] = [
            pair for pair in model["merges"] if number.keys() >= {*pair, _merged(model, pair[0], pair[1])}
        ]
    added = [token for token in content["added_tokens"] if token["content"] in number]
    added = sorted((token | {"id": number[token["content"]]} for token in added), key=lambda token: token["id"])
    for part in _processors(content["post_processor"]):
        part |= {name: [part[name][0], number[part[name][0]]] for name in ("sep", "cls") if name in part}
        for special in part.get("special_tokens", {}).values():
            special["ids"] = [number[token] for token in special["tokens"]]
    # Lengths that a call left behind are not the tokenizer's own, and padding has the old id.
    changed = content | {"added_tokens": added, "truncation": None, "padding": None}
    return Tokenizer.from_str(json.dumps(changed))


def _processors(processor: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A post-processor, or those that it is a sequence of."""
    if processor is not None:
        yield processor
        for part in processor.get("processors", ()):
            yield from _processors(part)


def with_tokenizer(old: Any, backend: Tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer with this inside that is used as the old one: names of special tokens, sides, lengths, inputs."""
    names = ("model_max_length", "padding_side", "truncation_side", "model_input_names", "extra_special_tokens")
    own = {name: getattr(old, name) for name in names}
    smaller: PreTrainedTokenizerFast = PreTrainedTokenizerFast(
        tokenizer_object=backend, **own, **old.special_tokens_map
    )
    return smaller


def with_rows(model: TrimformerWithHead, rows: list[int]) -> TrimformerWithHead:
    """The model with these rows of the word table, in this order."""
    new = {old: i for i, old in enumerate(rows)}
    named = {name: new.get(i) for name, i in _token_ids(model.config.to_dict()).items()}
    return with_table(model, len(rows), named, lambda table: table[rows].clone())


def with_table(
    model: TrimformerWithHead, size: int, named: Mapping[str, int | None], made: Callable[[Tensor], Tensor]
) -> TrimformerWithHead:
    """The model with another word table of this size. named: the ids that its configuration names. made: the new one of
    what has a row for each word, from the old one."""
    config = type(model.config).from_dict(model.config.to_dict() | dict(named) | {"vocab_size": size})
    weights = model.state_dict()
    with torch.device("meta"):  # the random start values would be thrown away: do not make them
        other = type(model)(config)
    of_words = {name for name, axes in axes_of(model).items() if axes[:1] == ("vocabulary",)}
    other.load_state_dict({n: made(w) if n in of_words else w for n, w in weights.items()}, assign=True)
    other.tie_weights(recompute_mapping=False)
    return other.train(model.training)
