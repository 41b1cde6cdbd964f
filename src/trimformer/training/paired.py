"""Rows for a student and a teacher whose tokenizers differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..tasks.encoding.encoded import Encoded

TEACHER = "teacher_"
"""Before the names of what only the teacher reads in a batch."""


@dataclasses.dataclass(frozen=True)
class Paired:
    """The rows of a split as the student reads them, each with the same row as the teacher reads it."""

    student: Encoded
    teacher: Encoded

    def __len__(self) -> int:
        return len(self.student)

    @property
    def couples(self) -> bool:
        """Whether two rows that follow one another are a couple of texts."""
        return self.student.couples

    @property
    def lengths(self) -> np.ndarray:
        """The student's tokens of each row, int64 (n,)."""
        return self.student.lengths

    def of_epoch(self, seed: int, epoch: int) -> Paired:
        return Paired(self.student.of_epoch(seed, epoch), self.teacher.of_epoch(seed, epoch))

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The student's batch, and the teacher's inputs under names of their own."""
        theirs = {TEACHER + name: value for name, value in self.teacher.batch(indices).items() if name != "labels"}
        return self.student.batch(indices) | theirs


def student_inputs(batch: dict[str, Tensor]) -> dict[str, Any]:
    """What a student is called with: all but the labels and what only its teacher reads."""
    return {name: value for name, value in batch.items() if name != "labels" and not name.startswith(TEACHER)}


def teacher_inputs(batch: dict[str, Tensor]) -> dict[str, Any]:
    """What a teacher is called with: its own inputs, or those of the student where it has none."""
    own = {name.removeprefix(TEACHER): value for name, value in batch.items() if name.startswith(TEACHER)}
    return own or student_inputs(batch)
