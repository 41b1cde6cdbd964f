"""What a worker does, wherever it runs: a piece of the source in, its finished lines out."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from ...tasks.kinds.answers import AnyAnswer
from ..predictor import Predictor
from .rows import Format, Piece
from .vectors import packed


@dataclasses.dataclass(frozen=True)
class LabelJob:
    """Everything that a worker has to know.

    threads: of each worker, None = as the backend likes. as_vectors: whether the answers are written as bare numbers.
    passages: folder of those that the rows name.
    """

    model: str
    format: Format
    backend: Any
    batch_size: int | None
    as_json: bool
    threads: int | None = None
    as_vectors: bool = False
    passages: str | None = None


@dataclasses.dataclass(frozen=True)
class Done:
    """A finished piece. lines: of output, or the bare numbers of vectors. rows: how many they are. notes: what is odd
    about how it was read. executed: its texts that went through 1, 2, … layers, of a model with exits.
    """

    lines: bytes
    rows: int
    notes: tuple[str, ...] = ()
    executed: list[int] | None = None


class Labeller:
    """An open model that labels pieces."""

    def __init__(self, job: LabelJob) -> None:
        if job.threads is not None:
            os.environ["RAYON_NUM_THREADS"] = str(job.threads)  # the tokenizer's; read when it is first used
        self.job = job
        self.predictor = Predictor(job.model, job.backend, job.threads, passages=job.passages)
        self.has_read = False

    def __call__(self, piece: Piece) -> Done:
        """Raises TrimformerError naming the line of a row that cannot be read."""
        rows = list(self.job.format.read(piece))
        answers = self.predictor.stream(rows, self.job.batch_size)
        if self.job.as_vectors:
            lines = [packed(answer) for answer in answers]
        else:
            lines = [f"{line(answer, self.job.as_json)}\n".encode() for answer in answers]
        notes = [] if self.has_read or not rows else self.predictor.reading_notes(rows)
        self.has_read = self.has_read or bool(rows)  # of the first piece only: it costs reading tokenizer.json again
        executed = self.predictor.executed
        return Done(b"".join(lines), len(lines), tuple(notes), None if executed is None else executed.take())


def line(answer: AnyAnswer, as_json: bool) -> str:
    """One line of output; numbers in JSON have the 6 decimals that fp32 can answer for."""
    return json.dumps(_rounded(vars(answer)), ensure_ascii=False) if as_json else str(answer)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        if isinstance(value, list):
            return [rounded(one) for one in value]
        return round(value, 6) if isinstance(value, float) else _rounded(value) if isinstance(value, dict) else value

    return {name: rounded(value) for name, value in values.items()}
