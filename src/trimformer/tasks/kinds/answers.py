"""What models say, as plain values: one class for each form of an answer."""

from __future__ import annotations

import dataclasses

from ...one_line import one_line


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says about one text.

    label: name of the most probable label; None for regression. score: its probability, or the number predicted.
    scores: probability of each label by name; empty for regression.
    """

    label: str | None
    score: float
    scores: dict[str, float]

    def __str__(self) -> str:
        return one_line(self.label) if self.label is not None else f"{self.score:.6g}"


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a multilabel model says about one text.

    labels: names of all labels with a probability of at least 0.5. scores: probability of each label by name.
    """

    labels: list[str]
    scores: dict[str, float]

    def __str__(self) -> str:
        return ",".join(map(one_line, self.labels))


@dataclasses.dataclass(frozen=True)
class Tags:
    """The tag of each word of one sentence; None for words that did not fit into the input."""

    tokens: list[str]
    tags: list[str | None]

    def __str__(self) -> str:
        return " ".join("_" if tag is None else one_line(tag) for tag in self.tags)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one question: ``context[start:end]``, '' where there is none.

    score: the sum of the model's start and end score, comparable between answers of one model, no probability; None
    where there is no answer.
    """

    answer: str
    start: int
    end: int
    score: float | None

    def __str__(self) -> str:
        return " ".join(self.answer.split())  # one line, whatever the context holds


@dataclasses.dataclass(frozen=True)
class Vector:
    """The vector of one text: numbers of which the cosine to those of another text says how alike the two are."""

    vector: list[float]

    def __str__(self) -> str:
        return " ".join(f"{number:.6g}" for number in self.vector)


AnyAnswer = Prediction | Labels | Tags | Answer | Vector
