"""A tag per word, with a model that labels word pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data import Examples, Task
from ..encoding import word_pieces
from ..encoding.encoded import Encoded
from ..labels import as_bioes, match_labels, number, span_marks
from .answers import Tags
from .base import Measure, TaskKind

UNPREDICTED = -1
"""The predicted label of a word that has no token."""


class Tokens(TaskKind):
    """The label at the first piece of each word. `compare` counts, so that the truth it gives holds nothing."""

    name = "tokens"
    form = "tokens"
    tokenise = staticmethod(word_pieces.tokenise)
    per_token = True
    reads = ("tags", "scheme", "truncation")
    columns = ("tokens", None)
    words = True
    answer = Tags

    def metrics(self, labels: Iterable[str]) -> tuple[str, ...]:
        """F1 of the spans first, where the labels are tags of spans."""
        return ("f1", "precision", "recall", "accuracy") if span_marks(labels) else ("accuracy",)

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, np.ndarray]:
        """A model need not know both B-X and I-X where only one of them is in the data: the other one's new id is -1.

        The data's own names stay, because the metrics read types of spans from them.
        """
        used = sorted({i for part in parts for row in part.labels for i in row})
        own = [task.labels[i] for i in used]
        # The order of a model's outputs cannot be told from that of the tags, which depends on those that occur.
        found = match_labels(own, labels, ordered=False)
        names = list(labels)
        for i, name in zip(found, own, strict=True):
            if number(name) is None:
                names[i] = name
        ids = np.full(len(task.labels), -1, dtype=np.int64)
        ids[used] = found
        usual = replace(task, labels=tuple(names), metrics=self.metrics([names[i] for i in found]))
        return self.scored_by(usual, task.chosen), ids

    def examples(self, rows: Sequence[Any]) -> Examples:
        """Sentences that are not divided yet are divided at white space."""
        return Examples([tuple(row.split() if isinstance(row, str) else row) for row in rows], None, [])

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        return word_pieces.labels_of(arrays["words"], arrays["offsets"], examples)

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Tags]:
        for sentence, ids in zip(data.examples.texts, tags(data, logits), strict=True):
            yield Tags(list(sentence), [None if i == UNPREDICTED else names[i] for i in ids.tolist()])

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[tuple[int, ...]]:
        """A word without a token has -1, which is right for all models that have none for it either."""
        return [tuple(ids.tolist()) for ids in tags(data, logits)]

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = counts(task, data, tags(data, logits))
        return found, np.zeros(len(found))

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether a word has the same tag."""
        words = slice(None) if data is None or data.words is None else data.words >= 0
        equal: np.ndarray = np.equal(exact[words].argmax(axis=1), other[words].argmax(axis=1))
        return equal

    def measure(self, task: Task, name: str) -> Measure:
        """A metric of the sums of `counts` over the sentences (micro average); 0 where nothing can be divided."""
        return lambda answers, _: _METRICS[name](*answers.sum(axis=0).tolist())


def tags(data: Encoded, logits: np.ndarray) -> list[np.ndarray]:
    """For each sentence the predicted label id of every word, int64 (words,), -1 for words without a token.

    logits: (tokens, labels), finite, the sentences end to end as in `data`.
    """
    assert data.words is not None
    best = logits.argmax(axis=1)
    predicted = []
    for sentence, begin, end in zip(data.examples.texts, data.offsets[:-1], data.offsets[1:], strict=True):
        words = data.words[begin:end]
        row = np.full(len(sentence), UNPREDICTED, dtype=np.int64)
        row[words[words >= 0]] = best[begin:end][words >= 0]
        predicted.append(row)
    return predicted


def counts(task: Task, data: Encoded, predicted: Sequence[np.ndarray]) -> np.ndarray:
    """What the metrics are made of, int64 (n, 5), one row per sentence.

    Columns: right words, words, right entities, predicted entities, true entities (the last three 0 if the tags are
    no spans). A word without a prediction is wrong, and outside of all entities. An entity is right if its words and
    its type are (conlleval, Tjong Kim Sang & De Meulder 2003); where predicted tags are not well formed, I-X after
    another type opens an entity, as in conlleval. Tags of BILOU count as those of BIOES that mean the same.
    """
    from seqeval.metrics.sequence_labeling import get_entities  # who only predicts has no seqeval

    names = [as_bioes(label) for label in task.labels]
    # Unpredicted words index this with -1.
    names.append("O")
    spans = "f1" in task.metrics
    rows = np.zeros((len(data.examples), 5), dtype=np.int64)
    for row, truth, guess in zip(rows, data.examples.labels, predicted, strict=True):
        row[0], row[1] = np.count_nonzero(guess == np.asarray(truth)), len(truth)
        if spans:
            true = set(get_entities([names[i] for i in truth]))
            found = set(get_entities([names[i] for i in guess]))
            row[2:] = len(true & found), len(found), len(true)
    return rows


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


_METRICS: dict[str, Callable[[int, int, int, int, int], float]] = {
    "accuracy": lambda right, words, *_: _share(right, words),
    "precision": lambda right, words, hits, found, true: _share(hits, found),
    "recall": lambda right, words, hits, found, true: _share(hits, true),
    "f1": lambda right, words, hits, found, true: _share(2 * hits, found + true),
}
