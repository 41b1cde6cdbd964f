"""What a worker does, wherever it runs: a piece of the source in, its finished lines out."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from ..deploy.predictor import Labels, Prediction, Predictor
from .rows import Format, Piece


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that a worker has to know.

    threads: of each worker, None = as the backend likes.
    """

    model: str
    format: Format
    backend: Any
    batch_size: int | None
    as_json: bool
    threads: int | None = None


@dataclasses.dataclass(frozen=True)
class Done:
    """A finished piece: its lines of output, and how many they are."""

    lines: bytes
    rows: int


class Labeller:
    """An open model that labels pieces."""

    def __init__(self, job: Job) -> None:
        if job.threads is not None:
            os.environ["RAYON_NUM_THREADS"] = str(job.threads)  # the tokenizer's; read when it is first used
        self.job = job
        self.predictor = Predictor(job.model, job.backend, job.threads)

    def __call__(self, piece: Piece) -> Done:
        """Raises TrimformerError naming the line of a row that cannot be read."""
        rows = list(self.job.format.read(piece))
        lines = [line(answer, self.job.as_json) for answer in self.predictor.stream(rows, self.job.batch_size)]
        return Done("".join(f"{text}\n" for text in lines).encode(), len(lines))


def line(answer: Prediction | Labels, as_json: bool) -> str:
    """One line of output. Scores are rounded to what fp32 can say: 6 decimals of a probability."""
    if isinstance(answer, Labels):
        if not as_json:
            return ",".join(answer.labels)
        return _dumps({"labels": answer.labels, "scores": _rounded(answer.scores)})
    if as_json:
        score = answer.score if answer.label is None else round(answer.score, 6)
        return _dumps({"label": answer.label, "score": score, "scores": _rounded(answer.scores)})
    return answer.label if answer.label is not None else f"{answer.score:.6g}"


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(score, 6) for name, score in scores.items()}


def _dumps(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
