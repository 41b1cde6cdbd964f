"""Words that are masked, and texts that are cut to a few words (Tang et al., "Distilling Task-Specific Knowledge from
BERT into Simple Neural Networks", 2019, section 3.3), without their swaps of words of one part of speech.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any, Literal

import numpy as np
from pydantic import Field
from transformers import PreTrainedTokenizerBase

from ...errors import TrimformerError
from ..data import Examples
from .base import Augmentation, AugmentationSettings, New, fields_of, register
from .words import Words

SINGLE: tuple[tuple[int, ...], ...] = ((0,),)
PAIR: tuple[tuple[int, ...], ...] = ((0,), (1,), (0, 1))
"""Which texts of a row are changed, in turn: of a pair the first, the second, both."""


class MaskingSettings(AugmentationSettings):
    """Settings of masking."""

    name: Literal["masking"] = "masking"
    mask: float = Field(0.1, ge=0, le=1, description="probability with which each word becomes the mask token")
    ngram: float = Field(
        0.25, ge=0, le=1, description="probability with which a text is then cut to a few of its words"
    )
    longest: int = Field(5, ge=1, description="largest number of words that it is cut to; 1 is the smallest")


@register
class Masking(Augmentation):
    """Each word is masked with a probability; then, with another one, the text is cut to some words in a row."""

    name = "masking"
    Settings = MaskingSettings

    @classmethod
    def check(cls, settings: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        if settings.mask > 0 and tokenizer.mask_token is None:
            raise TrimformerError(
                "The augmentation masking masks words, and the tokenizer has no mask token: set its mask to 0, or use "
                "word-replacement."
            )

    def decides(self) -> list[Any]:
        return [*super().decides(), self.reader.tokenizer.mask_token]

    def sources(self) -> dict[str, str]:
        return {"mask": f"the mask token {self.reader.tokenizer.mask_token}"}

    def make(self, rows: Examples) -> Iterator[New]:
        for row in range(len(rows)):
            fields = [Words(text) for text in fields_of(rows, row)]
            rng = np.random.default_rng([self.settings.seed, row])
            for places in islice(cycle(SINGLE if rows.pairs is None else PAIR), self.settings.copies):
                texts, masked = [field.text for field in fields], 0
                for place in places:
                    texts[place], count = self._changed(fields[place], rng)
                    masked += count
                yield New(row, tuple(texts), ("mask",) * masked, sum(len(fields[place]) for place in places))

    def _changed(self, text: Words, rng: np.random.Generator) -> tuple[str, int]:
        """A text, masked and cut, and how many of the words that are left are masked."""
        count = len(text)
        if not count:
            return text.text, 0
        masked = rng.random(count) < self.settings.mask
        first, length = 0, count
        cut = bool(rng.random() < self.settings.ngram)
        if cut:
            length = min(count, int(rng.integers(1, self.settings.longest + 1)))
            first = int(rng.integers(0, count - length + 1))
        kept = Words(text.part(first, length)) if cut else text
        places = np.flatnonzero(masked[first : first + length]).tolist()
        return kept.replaced(dict.fromkeys(places, self.reader.tokenizer.mask_token)), len(places)
