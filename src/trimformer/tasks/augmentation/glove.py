"""Candidates by nearness among word vectors from a file: GloVe's text format, a word and its numbers in each line."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from itertools import islice
from pathlib import Path

import numpy as np

from ...errors import TrimformerError
from .neighbours import Neighbours

MOST = 100_000
"""Words that are read, the first ones, which are the most frequent (TinyBERT reads as many)."""


class Glove(Neighbours):
    """Word vectors of a file."""

    name = "glove"

    def __init__(self, path: Path) -> None:
        words, vectors = read_vectors(path)
        super().__init__(words, vectors)
        self.about = f"neighbours among the {len(words):,} words of {path.name}"


def read_vectors(path: Path, letters: bool = True) -> tuple[list[str], np.ndarray]:
    """The first 100,000 words and their vectors, float32 (words, width). letters: only words of letters alone.

    A first line with two integers, as word2vec and fastText write it, is skipped. Raises TrimformerError, with the
    line, for a row with more or fewer numbers than the first one, for what is no number, and for a file without words.
    """
    vectors: dict[str, np.ndarray] = {}
    width = 0
    for number, raw in enumerate(_lines(path), 1):
        try:
            fields = raw.decode("utf-8").rstrip().split(" ")
        except UnicodeDecodeError as error:
            raise TrimformerError(
                f"Line {number} of the word vectors {path} is not UTF-8: save the file as UTF-8."
            ) from error
        if fields == [""] or (number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields)):
            continue
        width = width or max(1, len(fields) - 1)
        word, values = _row(fields, width)
        if values is None:
            raise TrimformerError(
                f"Line {number} of the word vectors {path} is not a word and {width} numbers, as the first one is: "
                "correct or delete this line."
            )
        if word.isalpha() or not letters:
            vectors.setdefault(word, values)
    if not vectors:
        raise TrimformerError(
            f"The word vectors {path} have no word: name a file with a word and its numbers in each line."
        )
    return list(vectors), np.stack(list(vectors.values()))


def vectors_digest(path: Path) -> str:
    """Of what is read of the file."""
    found = hashlib.blake2b(digest_size=16)
    for line in _lines(path):
        found.update(line)
    return found.hexdigest()


def _row(fields: list[str], width: int) -> tuple[str, np.ndarray | None]:
    """The word of a line, which may hold blanks, and its numbers; None where they are not as many as these."""
    word, values = fields[:-width], _numbers(fields[-width:])
    too_many = len(word) > 1 and _numbers(word[-1:]) is not None
    return " ".join(word), None if too_many or not word else values


def _numbers(fields: list[str]) -> np.ndarray | None:
    try:
        values = np.array(fields, dtype=np.float32)
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _lines(path: Path) -> list[bytes]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return list(islice(file, MOST))
    except (OSError, EOFError, zlib.error) as error:
        raise TrimformerError(
            f"The word vectors {path} cannot be read ({error}): check the path and the file."
        ) from error
