"""Words that are replaced by words that could stand there (TinyBERT, Jiao et al., 2020, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from transformers import PreTrainedTokenizerBase

from ..data import Examples
from .base import Augmentation, AugmentationSettings, New, Reader, fields_of, register
from .candidates import Candidates, propose_in_turn
from .glove import Glove, read_vectors, vectors_digest
from .masked_lm import MaskedLanguageModel, model_digest
from .word_table import WordTable
from .words import Words


class ReplacementSettings(AugmentationSettings):
    """Settings of word-replacement."""

    name: Literal["word-replacement"] = "word-replacement"
    copies: int = Field(
        20, ge=1, description="N: new rows that are tried for each text of a row; those that come out twice are dropped"
    )
    probability: float = Field(0.4, gt=0, le=1, description="p: with which each word is replaced")
    candidates: int = Field(15, ge=1, description="K: words of which one is drawn")
    masked_lm: str | None = Field(
        None, description="folder or hub id of a masked language model, which is asked for words that are one token"
    )
    glove: str | None = Field(
        None,
        description="a file of word vectors in GloVe's text format, plain or .gz; its first 100,000 words are read",
    )


@register
class Replacement(Augmentation):
    """Each word that carries meaning is replaced with a probability by one of its candidates.

    Candidates belong to the text as it was, whatever else is replaced in it. Of a pair each text is changed in turn
    while the other one is as it was: the authors' program leaves the first one at its last change, which is a mistake.
    """

    name = "word-replacement"
    Settings = ReplacementSettings

    def __init__(self, settings: Any, reader: Reader) -> None:
        super().__init__(settings, reader)
        self.table = WordTable(reader)

    @classmethod
    def check(cls, settings: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        if settings.glove is not None:
            read_vectors(Path(settings.glove))
        if settings.masked_lm is not None:
            MaskedLanguageModel(settings.masked_lm)

    @classmethod
    def files(cls, settings: Any) -> dict[str, str]:
        vectors, model = settings.glove, settings.masked_lm
        found = {} if vectors is None else {"word vectors": vectors_digest(Path(vectors))}
        return found if model is None else found | {"masked language model": model_digest(model)}

    def decides(self) -> list[Any]:
        settings = self.settings.model_dump(exclude={"name", "glove", "masked_lm"})
        return [settings, self.files(self.settings), self.table.words, self.table.vectors.tobytes()]

    @cached_property
    def candidates(self) -> list[Candidates]:
        """The sources, of which the first one that knows a word gives its candidates."""
        vectors, model = self.settings.glove, self.settings.masked_lm
        return [
            *([] if model is None else [MaskedLanguageModel(model)]),
            *([] if vectors is None else [Glove(Path(vectors))]),
            self.table,
        ]

    def sources(self) -> dict[str, str]:
        return {source.name: source.about for source in self.candidates}

    def make(self, rows: Examples) -> Iterator[New]:
        given = [fields_of(rows, row) for row in range(len(rows))]
        texts = [Words(text) for fields in given for text in fields]
        proposals = propose_in_turn(self.candidates, texts, self.settings.candidates)
        known = iter(zip(texts, proposals, strict=True))
        for row, fields in enumerate(given):
            rng = np.random.default_rng([self.settings.seed, row])
            for place in range(len(fields)):
                text, candidates = next(known)
                for new, sources in self._drawn(text, candidates, rng):
                    yield New(row, (*fields[:place], new, *fields[place + 1 :]), sources, len(text))

    def _drawn(
        self, text: Words, candidates: Mapping[int, tuple[str, Sequence[str]]], rng: np.random.Generator
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The copies of a text, each with the sources of its new words."""
        shape = (self.settings.copies, len(candidates))
        chosen = rng.random(shape) <= self.settings.probability
        drawn = rng.random(shape)
        for copy in range(self.settings.copies if candidates else 0):
            new, sources = {}, []
            for at, (index, (source, words)) in enumerate(candidates.items()):
                if chosen[copy, at]:
                    new[index] = words[int(drawn[copy, at] * len(words))]
                    sources.append(source)
            if new:
                yield text.replaced(new), tuple(sources)
