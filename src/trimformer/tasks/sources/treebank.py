"""Bracketed trees as in the Penn Treebank, and the split of the sample of it that NLTK hands out."""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import TrimformerError
from ..tables.files import read_text
from ..tables.tagged import Tagged, Word, gather

TRACE = "-NONE-"
"""The tag of what is in the tree but not in the sentence."""


@dataclass
class _Bracket:
    """An open bracket: its line, its label if it has one, its word if it is a leaf."""

    line: int
    label: str | None = None
    word: Word | None = None
    children: int = 0


def read_trees(path: Path) -> Tagged:
    """The leaves of every tree with their part-of-speech labels; traces are left out.

    Lines that begin with # between trees are comments. Raises TrimformerError for a tree whose brackets do not
    match and for a word without a label of its own.
    """
    return gather(path, _leaves(path))


def of_files(tagged: Tagged, numbers: Collection[int]) -> Tagged:
    """The sentences from the WSJ files with these numbers.

    Which file a sentence is from says the last line '# file wsj_0001' or '# sent wsj_0001.1' before it. Raises
    TrimformerError if none of the files is there.
    """
    lines, files = [0], [0]
    for number, line in enumerate(read_text(tagged.path).split("\n"), 1):
        if match := re.match(r"# (?:file|sent) wsj_(\d{4})", line):
            lines.append(number)
            files.append(int(match[1]))
    # A line of words belongs to the mark just before it.
    sentences = [s for s in tagged.sentences if files[bisect.bisect(lines, s[0].line) - 1] in numbers]
    if not sentences:
        raise TrimformerError(
            f"The file {tagged.path} has no sentences of wsj_{min(numbers):04} to wsj_{max(numbers):04}, which its "
            "'# file wsj_0001' lines would name: give a folder with a train and a validation file instead."
        )
    return replace(tagged, sentences=sentences)


def _leaves(path: Path) -> Iterator[Word | None]:
    open_: list[_Bracket] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.startswith("#") and not open_:
            continue
        for piece in re.findall(r"[()]|[^\s()]+", line):
            if piece == "(":
                if open_:
                    open_[-1].children += 1
                open_.append(_Bracket(number))
            elif not open_:
                raise _broken(path, number, f"'{piece}' stands outside of all brackets")
            elif piece == ")":
                closed = open_.pop()
                if closed.word is not None and closed.children:
                    raise _broken(path, closed.word.line, f"the word '{closed.word.text}' has no tag of its own")
                if closed.word is None and not closed.children:
                    raise _broken(path, number, "the bracket that ends here lacks a word or its tag")
                if closed.word is not None and closed.word.tag != TRACE:
                    yield closed.word
                if not open_:
                    yield None
            elif open_[-1].label is None and not open_[-1].children:
                open_[-1].label = piece
            elif open_[-1].label is not None and open_[-1].word is None and not open_[-1].children:
                open_[-1].word = Word(piece, open_[-1].label, number)
            else:
                raise _broken(path, number, f"the word '{piece}' has no tag of its own")
    if open_:
        raise _broken(path, open_[0].line, "the tree that begins here is never closed")


def _broken(path: Path, line: int, what: str) -> TrimformerError:
    return TrimformerError(f"In line {line} of {path}, {what}: correct the tree.")
