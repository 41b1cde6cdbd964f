"""Words that may stand in for another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from .words import Words

Proposals = list[dict[int, Sequence[str]]]
"""For each text: candidates for its words, by the index of the word; none for a word that is not known."""


class Candidates(ABC):
    """A source of candidates.

    name: what its words are counted by. about: the source in words.
    """

    name: ClassVar[str]
    about: str

    @abstractmethod
    def propose(self, texts: Sequence[Words], wanted: Sequence[Sequence[int]], count: int) -> Proposals:
        """At most `count` candidates, the best one first, for those of the wanted words of each text that it knows."""


def propose_in_turn(
    sources: Sequence[Candidates], texts: Sequence[Words], count: int
) -> list[dict[int, tuple[str, Sequence[str]]]]:
    """The candidates for the content words of each text, with the name of the first source that knows the word."""
    found: list[dict[int, tuple[str, Sequence[str]]]] = [{} for _ in texts]
    for source in sources:
        wanted = [[i for i in text.content if i not in known] for text, known in zip(texts, found, strict=True)]
        for known, new in zip(found, source.propose(texts, wanted, count), strict=True):
            known.update({index: (source.name, words) for index, words in new.items()})
    return found
