"""The answer to a question as a span of its context, scored as in SQuAD v1.1."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import TrimformerError
from ..data import Examples, GoldAnswer, Task
from ..encoding import windows
from ..encoding.encoded import Encoded
from .answers import Answer
from .base import Measure, TaskKind

COLUMNS = ("exact_match", "f1")
"""What the columns of counts are."""

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Spans(TaskKind):
    """The best span over all windows of a context. `compare` counts, so that the truth it gives holds nothing."""

    name = "spans"
    named = False
    form = "spans"
    tokenise = staticmethod(windows.tokenise)
    per_token = True
    reads = ("text_pair", "stride")
    columns = ("question", "context")
    keeps = "contexts"
    answer = Answer

    def metrics(self, labels: Iterable[str] = ()) -> tuple[str, ...]:
        return "f1", "exact_match"

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, None]:
        return task, None

    def examples(self, rows: Sequence[Any]) -> Examples:
        if not all(isinstance(row, tuple) for row in rows):
            raise TrimformerError("This model answers questions: give a question and a context for each row.")
        return Examples([row[0] for row in rows], [row[1] for row in rows], [])

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        return windows.labels_of(arrays, examples)

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Answer]:
        for span, context in zip(best_spans(data, logits), data.examples.pairs or [], strict=True):
            yield (
                Answer("", 0, 0, None)
                if span is None
                else Answer(context[span.begin : span.end], span.begin, span.end, span.score)
            )

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[tuple[GoldAnswer]]:
        """An answer without a word, such as `the` or none, has F1 0 with itself, as SQuAD scores it."""
        return [(GoldAnswer(found.answer, found.start),) for found in self.answers(data, logits, [])]

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = counts(data, best_texts(data, logits))
        return found, np.zeros(len(found))

    def groups(self, examples: Examples) -> list[str] | None:
        """A text that is hard to read is so for all questions on it."""
        return examples.groups or examples.pairs

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether a question has the same text as its answer, which only rows have."""
        assert data is not None
        pairs = zip(best_texts(data, exact), best_texts(data, other), strict=True)
        return np.array([first == second for first, second in pairs])

    def measure(self, task: Task, name: str) -> Measure:
        """The mean of a column of `counts`."""
        column = COLUMNS.index(name)
        return lambda answers, _: float(answers[:, column].mean())


class Span(NamedTuple):
    """Characters `begin` to `end` of the context, with the sum of the start and the end score."""

    score: float
    begin: int
    end: int


def best_span(
    start: np.ndarray, end: np.ndarray, chars: np.ndarray, n_best: int = 20, max_tokens: int = 30
) -> Span | None:
    """The best span of one row between one of the `n_best` starts and one of the `n_best` ends in its context.

    start, end: scores (n,); chars: (n, 2), -1 outside the context. A span has at most `max_tokens` tokens; of equals
    the first is taken. None where nothing is valid, as in a row without context.
    """
    inside = np.flatnonzero(chars[:, 0] >= 0)
    first, last = (inside[np.argsort(-scores[inside], kind="stable")[:n_best]] for scores in (start, end))
    first.sort()
    last.sort()
    sums = start[first].astype(np.float64)[:, None] + end[last]
    tokens = last - first[:, None] + 1
    sums[(tokens < 1) | (tokens > max_tokens)] = -np.inf
    if not np.isfinite(sums).any():
        return None
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    return Span(float(sums[row, column]), int(chars[first[row], 0]), int(chars[last[column], 1]))


def best_spans(data: Encoded, logits: np.ndarray, n_best: int = 20, max_tokens: int = 30) -> list[Span | None]:
    """The best span over all windows of each example, without white space at its ends; None where nothing is valid.

    logits: (tokens, 2), start and end. The other arguments are those of `best_span`.
    """
    assert data.owners is not None
    assert data.chars is not None
    assert data.examples.pairs is not None
    best: list[Span | None] = [None] * len(data.examples)
    for row, owner in enumerate(data.owners):
        tokens = slice(data.offsets[row], data.offsets[row + 1])
        span = best_span(logits[tokens, 0], logits[tokens, 1], data.chars[tokens], n_best, max_tokens)
        known = best[owner]
        if span is not None and (known is None or span.score > known.score):
            best[owner] = span
    return [_stripped(span, context) for span, context in zip(best, data.examples.pairs, strict=True)]


def best_texts(data: Encoded, logits: np.ndarray, n_best: int = 20, max_tokens: int = 30) -> list[str]:
    """The text of `best_spans`, as written in the context; '' where nothing is valid."""
    found = zip(best_spans(data, logits, n_best, max_tokens), data.examples.pairs or [], strict=True)
    return ["" if span is None else context[span.begin : span.end] for span, context in found]


def _stripped(span: Span | None, context: str) -> Span | None:
    """Some tokenizers count the space before a word as part of its token."""
    if span is None:
        return None
    text = context[span.begin : span.end]
    begin = span.begin + len(text) - len(text.lstrip())
    return Span(span.score, begin, begin + len(text.strip()))


def counts(data: Encoded, predicted: list[str]) -> np.ndarray:
    """Exact match and F1 of each example, 0..1, each the best over its right answers: float64 (n, 2).

    As SQuAD v1.1 scores them (Rajpurkar et al., 2016, section 6.1): case, ASCII punctuation, articles and white space
    do not count. Where nothing else is left of both texts they match exactly, yet F1 is 0.
    """
    found = np.zeros((len(data.examples), len(COLUMNS)))
    for row, (text, right) in enumerate(zip(predicted, data.examples.labels, strict=True)):
        words = _words(text)
        golds = [_words(answer.text) for answer in right]
        found[row] = any(words == gold for gold in golds), max(_f1(words, gold) for gold in golds)
    return found


def _words(text: str) -> list[str]:
    return re.sub(r"\b(?:a|an|the)\b", " ", text.lower().translate(_NO_PUNCTUATION)).split()


def _f1(predicted: list[str], right: list[str]) -> float:
    """Harmonic mean of precision and recall over the words, repeated ones counted as often as in both."""
    shared = (Counter(predicted) & Counter(right)).total()
    return 2 * shared / (len(predicted) + len(right)) if shared else 0.0
