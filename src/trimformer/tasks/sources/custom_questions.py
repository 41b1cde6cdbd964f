"""The user's own questions on contexts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import Examples, Task
from ..kinds import KINDS
from ..settings import TaskSettings
from ..tables.questions import read_questions


def load(train: Path, validation: Path | None, settings: TaskSettings) -> tuple[Task, Examples, Examples | None]:
    """The task, the questions of the training file (see `read_questions`) and those of the validation file, if any."""
    source = f"train: {train}" + ("" if validation is None else f"; validation: {validation}")
    examples = read_questions(train, settings)
    return _task(source), examples, None if validation is None else read_questions(validation, settings)


def load_validation(path: Path, settings: TaskSettings, labels: Sequence[str] | None = None) -> tuple[Task, Examples]:
    """The task and the questions of a validation file alone. labels: a model's, which say nothing here."""
    return _task(f"validation: {path}"), read_questions(path, settings)


def _task(source: str) -> Task:
    return Task("custom", "spans", (), KINDS["spans"].metrics(()), source)
