"""Files with one word a line and its tags in columns: CoNLL-2003, token and tag, CoNLL-U."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import TrimformerError
from ..data import did_you_mean
from .files import read_text
from .tagged import Tagged, Word, gather

CONLL2003 = ("token", "pos", "chunk", "ner")
TOKEN_TAG = ("token", "tag")
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLL2003_TAGS = ("ner", "pos", "chunk")
CONLLU_TAGS = ("upos", "xpos")


def tag_column(wanted: str | None, options: Sequence[str]) -> str:
    """The column that `task.tags` wants, by default the first; raises TrimformerError if it is not an option."""
    if wanted is not None and wanted not in options:
        raise TrimformerError(
            f"The setting task.tags names '{wanted}', but the columns of tags are {', '.join(options)}: name one of "
            f"them.{did_you_mean(wanted, options)}"
        )
    return wanted or options[0]


def read_columns(path: Path, names: Sequence[str], tag: str) -> Tagged:
    """A file whose lines hold the columns `names`, the word first, with blank lines between sentences.

    Columns are separated by tabs if the file has any, else by spaces. -DOCSTART- lines and comments are left out:
    lines that begin with # and a space before the first word of a sentence, and all that begin with # and have another
    number of columns. Raises TrimformerError for a line with another
    number of columns.
    """
    return gather(path, _column_words(path, names, names.index(tag)))


def read_conllu(path: Path, tag: str) -> Tagged:
    """The syntactic words of a CoNLL-U file (universaldependencies.org/format.html) with the column `tag`.

    Comments, the lines of multi-word tokens (1-2) and empty nodes (1.1) are left out. Raises TrimformerError for a
    broken line and for a word without that tag.
    """
    return gather(path, _conllu_words(path, CONLLU.index(tag)))


def _column_words(path: Path, names: Sequence[str], at: int) -> Iterator[Word | None]:
    text = read_text(path)
    separator = re.compile("\t" if "\t" in text else " +")
    # Split on "\n" only: str.splitlines would also cut at U+2028 and form feeds inside a word.
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")
        cells = separator.split(line)
        if not line or cells[0] == "-DOCSTART-":
            inside = False
            yield None
        elif line.startswith("# ") and not inside:
            continue
        elif len(cells) == len(names):
            inside = True
            yield Word(cells[0], cells[at], number)
        elif not line.startswith("#"):
            raise _wrong_columns(path, number, cells, names)


def _conllu_words(path: Path, at: int) -> Iterator[Word | None]:
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip():
            yield None
            continue
        if line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) != len(CONLLU):
            raise _wrong_columns(path, number, cells, CONLLU)
        if re.fullmatch("[0-9]+[-.][0-9]+", cells[0]):
            continue
        if not re.fullmatch("[0-9]+", cells[0]):
            raise TrimformerError(
                f"In line {number} of {path}, '{cells[0]}' is not a word id of CoNLL-U (1, 1-2 or 1.1): correct this "
                "line."
            )
        if cells[at].strip() in ("", "_"):
            other = "xpos" if CONLLU[at] == "upos" else "upos"
            raise TrimformerError(
                f"In line {number} of {path}, the word '{cells[1]}' has no {CONLLU[at]} tag: "
                f"add it, or set task.tags: {other} if the file has those."
            )
        yield Word(cells[1], cells[at], number)


def _wrong_columns(path: Path, line: int, cells: Sequence[str], names: Sequence[str]) -> TrimformerError:
    expected = f"{len(names)} ({', '.join(names)})"
    return TrimformerError(
        f"Line {line} of {path} has {len(cells)} columns where {expected} are expected: correct this line."
    )
