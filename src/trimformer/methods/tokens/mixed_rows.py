"""Rows whose words are cut by one of two vocabularies, drawn word by word."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...errors import TrimformerError
from ...tasks.encoding.encoded import Encoded
from ...training.paired import TEACHER, Paired

KINDS = ("WordPiece", "WordLevel")
"""The tokenizers whose words can be put together again from their pieces."""
PREFIX = "##"


@dataclasses.dataclass(frozen=True)
class Words:
    """The words that rows of token ids are made of.

    pieces: the tokens by id. continues: bool (ids,), whether a piece goes on with a word. whole: bool (ids,), whether
    it is never cut otherwise, as [SEP] and [UNK]. special: the special tokens by rising id.
    """

    pieces: Sequence[str]
    continues: np.ndarray
    whole: np.ndarray
    special: Sequence[str]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase | None, words: int) -> Words:
        """Those of a tokenizer whose model has a table of so many words; raises TrimformerError for another kind."""
        content = None
        if tokenizer is not None and tokenizer.is_fast:
            content = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        if content is None or content["type"] not in KINDS:
            found = "a slow tokenizer" if content is None else f"a {content['type']} tokenizer"
            raise TrimformerError(
                f"The method mixed-vocabulary cuts words anew, which it can do for {' and '.join(KINDS)} tokenizers, "
                f"and this is {found}: shorten its vocabulary by the method vocabulary."
            )
        assert tokenizer is not None
        ids = tokenizer.get_vocab()
        if max(ids.values()) >= words:
            raise TrimformerError("The tokenizer has more tokens than the word table has rows: name the right one.")
        pieces = [""] * words
        for piece, index in ids.items():
            pieces[index] = piece
        special = sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, key=ids.__getitem__)
        pieced = content.get("continuing_subword_prefix") == PREFIX
        goes_on = [pieced and piece.startswith(PREFIX) and piece not in special for piece in pieces]
        whole = [piece in special or not piece for piece in pieces]
        return cls(pieces, np.array(goes_on), np.array(whole), special)

    def split(self, row: np.ndarray) -> Iterator[tuple[int, ...]]:
        """The ids of each word."""
        starts = np.flatnonzero(~self.continues[row] | (np.arange(len(row)) == 0))
        for begin, end in zip(starts, [*starts[1:], len(row)], strict=True):
            yield tuple(row[begin:end].tolist())

    def can_be_cut(self, word: tuple[int, ...]) -> bool:
        return not (len(word) == 1 and self.whole[word[0]])

    def spelled(self, word: tuple[int, ...]) -> str:
        """A word as it was written, up to what the tokenizer normalises."""
        return "".join(
            self.pieces[index].removeprefix(PREFIX) if self.continues[index] else self.pieces[index] for index in word
        )

    def learned(self, rows: Encoded, size: int, unknown: str) -> Tokenizer:
        """A WordPiece vocabulary of the words in these rows; the special tokens come first."""
        every = [
            self.spelled(word)
            for begin, end in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)
            for word in self.split(rows.ids[begin:end])
            if self.can_be_cut(word)
        ]
        # The trainer numbers letters as it meets them, in an order that differs from process to process, and breaks
        # ties between pairs by these numbers: those that it is given first keep theirs.
        letters = {word[0] for word in every} | {PREFIX + letter for word in every for letter in word[1:]}
        made = Tokenizer(models.WordPiece(unk_token=unknown))
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=[*self.special, *sorted(letters)],
            continuing_subword_prefix=PREFIX,
            show_progress=False,
        )
        made.train_from_iterator(every, trainer)
        return made


@dataclasses.dataclass(frozen=True)
class MixedRows:
    """The rows of a split, each of whose words is cut by the second vocabulary with probability ``share``.

    rows: as the first one cuts them, for the student and maybe otherwise for the teacher. words: of the first one.
    second: the second one, whose ids begin at ``after``. longest: tokens of a row; what is beyond goes, but for the
    last token. drawn: the seed and the pass.
    """

    rows: Encoded | Paired
    words: Words
    second: Tokenizer
    after: int
    share: float
    longest: int
    drawn: tuple[int, int] = (0, 0)
    known: dict[tuple[int, ...], list[int]] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def student(self) -> Encoded:
        return self.rows.student if isinstance(self.rows, Paired) else self.rows

    @property
    def teacher(self) -> Encoded:
        return self.rows.teacher if isinstance(self.rows, Paired) else self.rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row as the first vocabulary cuts it, int64 (n,)."""
        return self.student.lengths

    def of_epoch(self, seed: int, epoch: int) -> MixedRows:
        """The rows as they are cut in a pass over them."""
        return dataclasses.replace(self, drawn=(seed, epoch))

    def read(self, index: int) -> tuple[list[int], list[int]]:
        """The ids of a row, and its types, which are those of the words."""
        rows = self.student
        place = slice(rows.offsets[index], rows.offsets[index + 1])
        types = np.zeros(place.stop - place.start, np.uint8) if rows.types is None else rows.types[place]
        rng = np.random.default_rng([*self.drawn, index])
        ids: list[int] = []
        kinds: list[int] = []
        at = 0
        for word in self.words.split(rows.ids[place]):
            cut = self.cut(word) if rng.random() < self.share else list(word)
            ids += cut
            kinds += [int(types[at])] * len(cut)
            at += len(word)
        if len(ids) > self.longest:
            ids, kinds = ([*row[: self.longest - 1], row[-1]] for row in (ids, kinds))
        return ids, kinds

    def cut(self, word: tuple[int, ...]) -> list[int]:
        """The ids of a word as the second vocabulary cuts it; special tokens stay those of the first."""
        if word not in self.known:
            pieces = self.second.model.tokenize(self.words.spelled(word)) if self.words.can_be_cut(word) else None
            self.known[word] = list(word) if pieces is None else [self.after + piece.id for piece in pieces]
        return self.known[word]

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Rows padded on the right to the longest of them, and those of the teacher under names of their own."""
        own = self.student
        read = [self.read(index) for index in indices]
        longest = max(len(ids) for ids, _ in read)

        def padded(rows: list[list[int]], value: int) -> Tensor:
            return torch.tensor([row + [value] * (longest - len(row)) for row in rows])

        batch = {
            "input_ids": padded([ids for ids, _ in read], own.pad_id),
            "attention_mask": padded([[1] * len(ids) for ids, _ in read], 0),
            "labels": torch.from_numpy(own.labels[list(indices)]),
        }
        if own.types is not None:
            batch["token_type_ids"] = padded([types for _, types in read], 0)
        theirs: Mapping[str, Any] = self.teacher.batch(indices)
        return batch | {TEACHER + name: value for name, value in theirs.items() if name != "labels"}
