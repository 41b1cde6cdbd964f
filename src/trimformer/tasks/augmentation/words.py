"""A text as words, of which some can be replaced and all else stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

_WORD = re.compile(r"\w+(?:['’]\w+)*")

_STOP_WORDS = """
a about above across after again against all almost along already also although always am among an and another any
are around as at be because been before behind being below beneath beside between beyond both but by can cannot
could d did do does doing done down during each either else ever every few for from had has have having he her here
hers herself him himself his how however i if in into is it its itself just least less ll m may me might mine more
most much must my myself near neither never no nobody none nor not nothing now nowhere of off often on once only or
other others our ours ourselves out over own per perhaps quite rather re s same shall she should since so some such
t than that the their theirs them themselves then there these they this those though through till to too toward
under unless until up upon us ve very was we were what when where whether which while who whom whose why will with
within without would yet you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English words that carry the grammar, denials among them: to replace one makes another statement, or none."""


class Words:
    """Where the words of a text are."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in _WORD.finditer(text)]

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> str:
        start, end = self.spans[index]
        return self.text[start:end]

    @cached_property
    def content(self) -> list[int]:
        """The words of letters alone that are no stop-words, by their index."""
        return [i for i in range(len(self)) if self[i].isalpha() and self[i].lower() not in STOP_WORDS]

    def replaced(self, new: Mapping[int, str]) -> str:
        """The text with other words in the places of these."""
        parts, at = [], 0
        for index, word in sorted(new.items()):
            start, end = self.spans[index]
            parts += [self.text[at:start], word]
            at = end
        return "".join([*parts, self.text[at:]])

    def part(self, first: int, count: int) -> str:
        """So many words with what is between them."""
        return self.text[self.spans[first][0] : self.spans[first + count - 1][1]]


def cased_like(word: str, model: str) -> str:
    """A word with a capital where the other one has one."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[0].upper() + word[1:] if model[0].isupper() else word
