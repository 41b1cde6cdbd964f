"""What an augmentation is: a way to new texts. One file per way; each registers itself under its name.

Checklist for a new one: write one file here, or a module that an installed package names under the entry point group
``trimformer.augmentations``; test it in tests/tasks/augmentation/; describe it, with its table of settings, in
docs/augmentation.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedTokenizerBase

from ...registry import Registry
from ..data import Examples


class AugmentationSettings(BaseModel):
    """Settings of an augmentation: each adds ``name``, a literal with its name, and its own fields."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Any
    copies: int = Field(
        20, ge=1, description="new rows that are tried for each row; those that come out twice are dropped"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of what is replaced, apart from that of the run")


class Reader(NamedTuple):
    """The model that labels the new texts. words: its word table, (tokens, width)."""

    tokenizer: PreTrainedTokenizerBase
    words: torch.Tensor


class New(NamedTuple):
    """A new row. row: the one that it was made of. fields: its text, and the second one of a pair. replaced: for each
    word that was changed, where the new one comes from. words: of the texts before."""

    row: int
    fields: tuple[str, ...]
    replaced: tuple[str, ...]
    words: int


class Augmentation(ABC):
    """A way to make new rows of texts or pairs of texts."""

    name: ClassVar[str]
    Settings: ClassVar[type[AugmentationSettings]]

    def __init__(self, settings: Any, reader: Reader) -> None:
        self.settings, self.reader = settings, reader

    @classmethod
    @abstractmethod
    def check(cls, settings: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise TrimformerError where this cannot work; called before any training."""

    @classmethod
    def files(cls, settings: Any) -> dict[str, str]:
        """Digests of the files that it reads beside the data, by what a user calls them."""
        return {}

    def decides(self) -> list[Any]:
        """All beside the rows that decides what is made: the name of the cached file is a hash of it."""
        return [self.settings.model_dump(exclude={"name"}), self.files(self.settings)]

    @abstractmethod
    def sources(self) -> dict[str, str]:
        """Where new words come from, in words, by the names that ``New.replaced`` has."""

    @abstractmethod
    def make(self, rows: Examples) -> Iterator[New]:
        """New rows of each row, in order; the same ones for the same settings and texts."""


def fields_of(rows: Examples, row: int) -> tuple[str, ...]:
    """The text of a row, and the second one of a pair."""
    return (rows.texts[row],) if rows.pairs is None else (rows.texts[row], rows.pairs[row])


AUGMENTATIONS: Registry[type[Augmentation]] = Registry(
    "augmentation", "trimformer.tasks.augmentation", "trimformer.augmentations"
)
A = TypeVar("A", bound=type[Augmentation])


def register(augmentation: A) -> A:
    """Class decorator: make an augmentation known under its name."""
    AUGMENTATIONS.add(augmentation.name)(augmentation)
    return augmentation
