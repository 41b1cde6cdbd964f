"""One score per couple of a query and a text: what a reranker (cross-encoder) gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...errors import TrimformerError
from ...saved.kinds import RELEVANCE
from ..data import Examples, Task
from ..encoding.encoded import Encoded
from .answers import Prediction
from .base import Measure
from .probabilities import sigmoid
from .regression import Regression, spearman
from .texts import ONE_OUTPUT

MRR = "mrr"


class Ranking(Regression):
    """The only logit; the label is the relevance of the text for the query, from 0 to 1.

    Rows of one query are those with an equal first text, or of one group. `compare` gives for each row its logit, the
    reciprocal rank of its query's best relevant text, and its share of the query, so that rows that are drawn query by
    query have a mean. A query whose rows are all relevant or all not has nothing to rank, and does not count.
    """

    name = "ranking"
    keeps = "queries"

    def metrics(self, labels: Iterable[str] = ()) -> tuple[str, ...]:
        return MRR, "accuracy"

    def agreement(self, labels: Iterable[str], rows: Examples) -> tuple[str, ...]:
        return "spearman", "accuracy"

    def choice(self, labels: Iterable[str]) -> tuple[str, ...]:
        return tuple(_METRICS)

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, None]:
        """A model with one output that does not say what it is may be a reranker."""
        if len(labels) > 1:
            raise TrimformerError(
                f"The task {task.name} is ranking, which has one score for a row, and the model has {len(labels)} "
                "classes: set kind: classification or choose a model with one output."
            )
        return task if list(labels) in ([], [RELEVANCE]) else replace(task, one_output=True, note=ONE_OUTPUT), None

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Prediction]:
        for (score,) in sigmoid(logits.astype(np.float64)).tolist():
            yield Prediction(None, score, {})

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[float]:
        return sigmoid(logits.astype(np.float64))[:, 0].tolist()

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, truth = logits.astype(np.float64).reshape(len(logits)), data.labels
        found = np.stack([scores, *reciprocal_ranks(scores, truth > 0.5, self.groups(data.examples))], axis=1)
        return found, truth

    def hits(self, task: Task, answers: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
        return (answers[:, 0] > 0) == (truth > 0.5) if task.metrics[0] == "accuracy" else None

    def groups(self, examples: Examples) -> list[str]:
        return examples.groups or examples.texts

    def check_parts(self, task: Task, parts: dict[str, Examples]) -> None:
        """Refuse to rank where a part of the data has no query with rows of both sorts."""
        for name, examples in parts.items():
            if task.metrics[0] != MRR or not examples.labels:
                continue
            relevant = np.asarray(examples.labels, dtype=np.float64) > 0.5
            if not reciprocal_ranks(np.zeros(len(examples)), relevant, self.groups(examples))[1].any():
                raise TrimformerError(
                    f"No query of the {name} rows has both relevant and other texts, so that there is nothing to rank: "
                    "name the column of the queries with --group, choose --metric accuracy, or add rows."
                )

    def measure(self, task: Task, name: str) -> Measure:
        return _METRICS[name]


def reciprocal_ranks(scores: np.ndarray, relevant: np.ndarray, queries: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each row 1 / rank of the best relevant row of its query, and the row's share of its query; both float64 (n,).

    The rank counts the other rows whose score is as high or higher, so that a constant score is worth least. Rows of a
    query without anything to rank have a share of 0.
    """
    _, query = np.unique(np.asarray(queries, dtype=object), return_inverse=True)
    count = int(query.max()) + 1
    best = np.full(count, -np.inf)
    np.maximum.at(best, query[relevant], scores[relevant])
    others = np.bincount(query[~relevant], minlength=count)
    before = np.bincount(query[~relevant], scores[~relevant] >= best[query[~relevant]], minlength=count)
    sizes = np.bincount(query, minlength=count)
    shares = np.where((others > 0) & (others < sizes), 1 / sizes, 0.0)
    return (1 / (1 + before))[query], shares[query]


def _mrr(answers: np.ndarray, truth: np.ndarray) -> float:
    """The mean over queries; 0 where none has anything to rank."""
    whole = answers[:, 2].sum()
    return float((answers[:, 1] * answers[:, 2]).sum() / whole) if whole else 0.0


def _accuracy(answers: np.ndarray, truth: np.ndarray) -> float:
    """The share of rows that are rightly taken to be relevant or not."""
    return float(np.mean((answers[:, 0] > 0) == (truth > 0.5)))


_METRICS: dict[str, Measure] = {
    MRR: _mrr,
    "accuracy": _accuracy,
    "spearman": lambda answers, truth: spearman(answers[:, 0], truth),
}
