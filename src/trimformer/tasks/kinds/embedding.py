"""One vector per text: scored by the cosines of couples, or by what a teacher finds near a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import TrimformerError
from ..data import Examples, Task
from ..encoding import couples
from ..encoding.encoded import Encoded
from .answers import Vector
from .base import Measure, TaskKind
from .regression import pearson, spearman

NEAREST = 10
"""Neighbours of a text that a model should find; of fewer than 51 texts a fifth, for chance would find the others."""
CLOSE = 0.98
"""The cosine from which on two vectors of a text are the same answer.

An int8 file that lost nothing (the demo encoder with four attention layers, Spearman 0.796 for 0.795 on 250 couples of
STS-B) had cosines of 0.983 to its fp32 file at the least and of 0.993 in the median.
"""
TIE = 1e-6
"""Cosines that differ by less are equal: runtimes round them otherwise."""
OF_COUPLES, OF_TEXTS = ("spearman", "pearson"), ("neighbours", "cosine")
_SHORTER = re.compile(r"(\w+)@([1-9][0-9]*)")
"""A metric of the first dimensions alone: spearman@128."""


class Embedding(TaskKind):
    """The vector itself.

    Of couples the truth is a score, which the cosine of the two texts should rank alike. Of texts it is the teacher's
    vectors. `compare` gives for each example, and for all dimensions and each smaller number that a metric names, a
    cosine, the share of the teacher's neighbours that were found, and the cosine to the teacher's vector (of couples:
    NaN for both). The first is of the couple, or of a text and the next one, for which the teacher's is the truth.
    """

    name = "embedding"
    named = False
    form = "vectors"
    tokenise = staticmethod(couples.tokenise)
    per_token = False
    reads = ("text_pair", "truncation")
    columns = ("text", None)
    one_text = True
    answer = Vector

    def metrics(self, labels: Iterable[str] = ()) -> tuple[str, ...]:
        return OF_COUPLES

    def agreement(self, labels: Iterable[str], rows: Examples) -> tuple[str, ...]:
        return OF_TEXTS if rows.pairs is None else OF_COUPLES

    def scored_by(self, task: Task, name: str | None) -> Task:
        """As of every kind, and by the first dimensions alone (``spearman@128``)."""
        found = _SHORTER.fullmatch(name or "")
        if found is None:
            return super().scored_by(task, name)
        whole = super().scored_by(task, found[1])
        return replace(whole, metrics=tuple(dict.fromkeys([found[0], *whole.metrics])), chosen=found[0])

    def choice(self, labels: Iterable[str]) -> tuple[str, ...]:
        return OF_COUPLES + OF_TEXTS

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, None]:
        return task, None

    def examples(self, rows: Sequence[Any]) -> Examples:
        if not all(isinstance(row, str) for row in rows):
            raise TrimformerError("This model gives a vector for one text at a time: leave the second text out.")
        return Examples(list(rows), None, [])

    def labels(self, task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
        labels = np.asarray(examples.labels, dtype=np.float32)
        return labels if examples.pairs is None else np.repeat(labels, 2)

    def answers(self, data: Encoded, logits: np.ndarray, names: list[str]) -> Iterator[Vector]:
        for row in logits.astype(np.float64).tolist():
            yield Vector(row)

    def pseudo_labels(self, data: Encoded, logits: np.ndarray) -> list[Any]:
        return _cosines(logits[0::2], logits[1::2]).tolist() if data.couples else list(logits)

    def compare(self, task: Task, data: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes = [logits.shape[1], *shorter(task.metrics)]
        if max(sizes) > logits.shape[1]:
            raise TrimformerError(
                f"The metrics of {task.name} ({', '.join(task.metrics)}) count more dimensions than the vectors have "
                f"({logits.shape[1]}): name fewer after the @."
            )
        found = np.full((len(data.examples), len(sizes), 3), np.nan)
        if data.couples:
            for at, size in enumerate(sizes):
                found[:, at, 0] = _cosines(logits[0::2, :size], logits[1::2, :size])
            return found, np.asarray(data.examples.labels, dtype=np.float64)
        teacher = data.labels
        for at, size in enumerate(sizes):
            own, theirs = logits[:, :size], teacher[:, :size]
            found[:, at, 0] = _cosines(own, np.roll(own, -1, axis=0))
            if "neighbours" in {name.partition("@")[0] for name in task.metrics}:
                found[:, at, 1] = neighbours_found(own, theirs)
            found[:, at, 2] = _cosines(own, theirs)
        return found, _cosines(teacher, np.roll(teacher, -1, axis=0))

    def same(self, data: Encoded | None, exact: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether the two vectors of a text have a cosine of at least `CLOSE`."""
        close: np.ndarray = np.greater_equal(_cosines(exact, other), CLOSE)
        if data is None or not data.couples:
            return close
        both: np.ndarray = close[0::2] & close[1::2]
        return both

    def measure(self, task: Task, name: str) -> Measure:
        whole, _, size = name.partition("@")
        at = 1 + shorter(task.metrics).index(int(size)) if size else 0
        if whole in OF_TEXTS:
            column = 1 + OF_TEXTS.index(whole)
            return lambda answers, _: float(answers[:, at, column].mean())
        of = {"spearman": spearman, "pearson": pearson}[whole]
        return lambda answers, truth: of(answers[:, at, 0], truth)


def scored_along(task: Task, dims: Iterable[int]) -> Task:
    """The task with its score counted on these numbers of first dimensions, too."""
    also = [f"{task.metrics[0].partition('@')[0]}@{dim}" for dim in dims]
    return replace(task, metrics=tuple(dict.fromkeys([*task.metrics, *also])))


def shorter(metrics: Iterable[str]) -> list[int]:
    """The numbers of dimensions that metrics count, where not all do, each once."""
    return list(dict.fromkeys(int(found[2]) for name in metrics if (found := _SHORTER.fullmatch(name))))


def neighbours_found(student: np.ndarray, teacher: np.ndarray, block: int = 512) -> np.ndarray:
    """For each text the share of its nearest texts, by cosine of the student's vectors, that the teacher finds as near.

    As near as the last of its own nearest, so that it does not matter which of several equals is taken. student and
    teacher: (n, their sizes), n at least 2; returns float64 (n,).
    """
    count = min(NEAREST, max(1, (len(student) - 1) // 5))
    student, teacher = _unit(student), _unit(teacher)
    found = np.empty(len(student))
    for begin in range(0, len(student), block):
        rows = np.arange(begin, min(begin + block, len(student)))
        ours, theirs = student[rows] @ student.T, teacher[rows] @ teacher.T
        for cosines in (ours, theirs):
            cosines[np.arange(len(rows)), rows] = -np.inf  # a text is no neighbour of itself
        nearest = np.argpartition(-ours, count - 1, axis=1)[:, :count]
        last = -np.partition(-theirs, count - 1, axis=1)[:, count - 1]
        found[rows] = (np.take_along_axis(theirs, nearest, axis=1) >= last[:, None] - TIE).mean(axis=1)
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    exact = vectors.astype(np.float64)
    unit: np.ndarray = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
    return unit


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Row by row, float64 (n,)."""
    cosines: np.ndarray = (_unit(one) * _unit(other)).sum(axis=1)
    return cosines
