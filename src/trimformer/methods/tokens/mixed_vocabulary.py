"""A smaller vocabulary of one's own, learned while words are cut by either: mixed-vocabulary training.

Zhao, Gupta, Song and Zhou, "Extremely Small BERT Models from Mixed-Vocabulary Training", 2019. A WordPiece vocabulary
is learned from the training texts. The model has rows for the tokens of both vocabularies, and each word of what it
reads is cut by the new one with probability p = 0.5, else by the old one, so that the new rows come to mean what the
old ones do. In the end it reads the new vocabulary alone.

Where the published method is left: it mixes in the teacher, while that learns to find masked tokens, and a narrow
student is then trained on the new vocabulary; here the model that keeps the new vocabulary mixes, on the task, and
learns from the teacher, which goes on reading the old one. A narrower student is a stage of its own. New rows begin as
the mean of the old rows of which their spelling is made.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...training.settings import ObjectiveSettings
from ..base import Context, MethodSettings, Standard, StudentMethod, register
from ..result import Result
from .mixed_rows import PREFIX, MixedRows, Words
from .vocabulary import WORDS, numbered, with_rows, with_table, with_tokenizer


class MixedVocabularySettings(MethodSettings):
    """Settings of mixed-vocabulary."""

    name: Literal["mixed-vocabulary"] = "mixed-vocabulary"
    size: int = Field(4928, ge=1, description="tokens of the new vocabulary, at most, unless it needs more letters")
    share: float = Field(0.5, ge=0, le=1, description="p, the probability that a word is cut by the new vocabulary")


@register
class MixedVocabulary(StudentMethod):
    """Learn to read a smaller vocabulary made of the training texts, beside the old one."""

    name = "mixed-vocabulary"
    Settings = MixedVocabularySettings
    example = {"size": 24}  # noqa: RUF012  (never written to)
    kinds = ("classification", "multilabel", "regression", "ranking")
    decides = False
    changes_tokenizer = True
    rereads = True
    standard = Standard(objective=ObjectiveSettings(logits=1.0), repair=ObjectiveSettings(logits=1.0))

    def __init__(self, settings: Any, context: Context) -> None:
        config, tokenizer = context.model.config, context.tokenizer
        self.words = words_of(tokenizer, config)
        assert tokenizer is not None, "words are those of a tokenizer"
        made = self.words.learned(context.train, settings.size, tokenizer.unk_token)
        self.old, self.ids = config.vocab_size, made.get_vocab()
        self.tokenizer = rewritten(tokenizer, json.loads(made.to_str())["model"], self.ids)
        if config.positions == "from_padding" and self.tokenizer.pad_token_id != tokenizer.pad_token_id:
            raise TrimformerError(
                "This encoder counts positions from the id of its padding, which would not be the same in a new "
                "vocabulary: shorten its vocabulary by the method vocabulary."
            )
        model = with_both(context.model, tokenizer, self.words, self.ids)
        own: Any = context.rows
        rows: Any = MixedRows(own, self.words, made, self.old, settings.share, config.max_tokens)
        super().__init__(settings, dataclasses.replace(context, model=model, part=rows))

    @classmethod
    def check_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, config: TrimformerConfig) -> None:
        words_of(tokenizer, config)

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        cls.check(settings, config)
        if settings.size >= config.vocab_size:
            raise TrimformerError(
                f"A new vocabulary of {settings.size} tokens is no smaller than that of the model, "
                f"{config.vocab_size}: set a smaller size."
            )
        pad = config.pad_token_id  # special tokens come first in a new vocabulary
        pad = pad if pad is None or pad < settings.size else 0
        return TrimformerConfig.from_dict(config.to_dict() | {"vocab_size": settings.size, "pad_token_id": pad})

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def result(self) -> Result:
        """The model with the rows of the new vocabulary alone, special tokens with those that they have had."""
        number = {piece: index for index, piece in enumerate(self.words.pieces)}
        order = sorted(self.ids, key=self.ids.__getitem__)
        rows = [number[piece] if piece in self.words.special else self.old + self.ids[piece] for piece in order]
        return Result(with_rows(self.model, rows).cpu(), self.tokenizer, self.notes())

    def notes(self) -> list[str]:
        width = self.model.state_dict()[WORDS].shape[1]
        saved = (self.old - len(self.ids)) * width * self.model.dtype.itemsize / 1e6
        return [
            f"{len(self.ids):,} tokens of a new vocabulary take the place of {self.old:,}, which saves {saved:,.2f} MB."
        ]


def words_of(tokenizer: PreTrainedTokenizerBase | None, config: TrimformerConfig) -> Words:
    """The words of a tokenizer; raises TrimformerError where no new vocabulary can be made beside it."""
    words = Words.of(tokenizer, config.vocab_size)
    if tokenizer is None or tokenizer.unk_token not in words.special:
        raise TrimformerError("The tokenizer has no token for unknown words, which a new vocabulary needs: add one.")
    return words


def rewritten(
    tokenizer: PreTrainedTokenizerBase, model: dict[str, Any], ids: dict[str, int]
) -> PreTrainedTokenizerBase:
    """The tokenizer with another model inside, which cuts words by these tokens."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    return with_tokenizer(tokenizer, numbered(content | {"model": model}, ids))


def with_both(
    model: TrimformerWithHead, tokenizer: PreTrainedTokenizerBase, words: Words, ids: dict[str, int]
) -> TrimformerWithHead:
    """The model with rows for the new tokens behind its own; each is the mean of the old ones of its spelling."""
    number = {piece: index for index, piece in enumerate(words.pieces) if piece}
    cutter = tokenizer.backend_tokenizer.model

    def old_ids(piece: str) -> list[int]:
        if piece in number:
            return [number[piece]]
        return [token.id for token in cutter.tokenize(piece.removeprefix(PREFIX))]

    made_of = [old_ids(piece) for piece in sorted(ids, key=ids.__getitem__)]

    def both(table: Tensor) -> Tensor:
        return torch.cat([table, torch.stack([table[own].mean(0) for own in made_of])])

    return with_table(model, model.config.vocab_size + len(ids), {}, both)
