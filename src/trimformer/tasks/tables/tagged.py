"""Sentences with one tag per word, every word knowing where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...errors import TrimformerError
from ..data import Examples, did_you_mean
from ..labels import composed, shown


class Word(NamedTuple):
    """A word, its tag as written, and its 1-based line."""

    text: str
    tag: str
    line: int


@dataclass(frozen=True)
class Tagged:
    """The sentences of one file; `unit` is what the numbers of its words count: 'line' or 'row'."""

    path: Path
    sentences: list[list[Word]]
    unit: str = "line"

    def where(self, word: Word) -> str:
        """'line 12 of file', for messages."""
        return f"{self.unit} {word.line} of {self.path}"

    def tags(self) -> set[str]:
        """The different tags."""
        return {word.tag for sentence in self.sentences for word in sentence}

    def require(self, tags: Iterable[str]) -> None:
        """Raise TrimformerError naming the first word whose tag is not among `tags`."""
        known = dict.fromkeys(tags)
        for sentence in self.sentences:
            for word in sentence:
                if word.tag not in known:
                    raise TrimformerError(
                        f"In {self.where(word)}, the tag '{word.tag}' is not among the known tags "
                        f"({shown(list(known))}): correct it, or add training rows with it."
                        f"{did_you_mean(word.tag, list(known))}"
                    )

    def as_examples(self, ids: Mapping[str, int]) -> Examples:
        """Words and tag ids; raises TrimformerError for a tag that has no id."""
        self.require(ids)
        words = [tuple(word.text for word in sentence) for sentence in self.sentences]
        return Examples(words, None, [tuple(ids[word.tag] for word in sentence) for sentence in self.sentences])


def gather(path: Path, words: Iterable[Word | None], unit: str = "line") -> Tagged:
    """Sentences from words in file order, each None ending one; raises TrimformerError if there are none."""
    sentences: list[list[Word]] = [[]]
    for word in words:
        if word is not None:
            # "O " is O: with a blank in one tag none would look like spans, and words would be scored for entities.
            sentences[-1].append(word._replace(tag=composed(word.tag)))
        elif sentences[-1]:
            sentences.append([])
    if not sentences[-1]:
        sentences.pop()
    if not sentences:
        raise TrimformerError(f"The file {path} holds no tagged words: add some or name another file.")
    return Tagged(path, sentences, unit)
