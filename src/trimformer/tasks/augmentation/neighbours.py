"""Candidates by nearness: the words whose vectors have the largest cosine with that of a word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .candidates import Candidates, Proposals
from .words import Words, cased_like

BLOCK = 512
"""Words that are compared with all others at once."""
SPARE = 8
"""Neighbours beyond those asked for: the word itself and its other spellings are among them."""


class Neighbours(Candidates):
    """Words with vectors, wherever these come from."""

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        """words: different ones. vectors: of each word, (words, width)."""
        self.words = list(words)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        self.rows = {word: row for row, word in enumerate(self.words)}

    def propose(self, texts: Sequence[Words], wanted: Sequence[Sequence[int]], count: int) -> Proposals:
        places = [{index: self._row(text[index]) for index in asked} for text, asked in zip(texts, wanted, strict=True)]
        nearest = self.nearest({row for known in places for row in known.values() if row is not None}, count)
        return [
            {
                index: [cased_like(word, text[index]) for word in nearest[row]]
                for index, row in known.items()
                if row is not None and nearest[row]
            }
            for text, known in zip(texts, places, strict=True)
        ]

    def nearest(self, rows: set[int], count: int) -> dict[int, list[str]]:
        """The nearest other words of each of these, the nearest first; of equally near ones the first in the table."""
        asked, most = sorted(rows), min(count + SPARE, len(self.words))
        found: dict[int, list[str]] = {}
        for start in range(0, len(asked), BLOCK):
            block = asked[start : start + BLOCK]
            cosines = self.vectors[block] @ self.vectors.T
            best = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
            for row, near, of_row in zip(block, best, cosines, strict=True):
                order = near[np.lexsort((near, -of_row[near]))]
                others = [self.words[other] for other in order]
                found[row] = [word for word in others if word.lower() != self.words[row].lower()][:count]
        return found

    def _row(self, word: str) -> int | None:
        return self.rows.get(word, self.rows.get(word.lower()))
