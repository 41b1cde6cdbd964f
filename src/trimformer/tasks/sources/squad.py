"""SQuAD v1.1, from its original JSON files or from the hub, and files of the user that are made like it."""

from __future__ import annotations

from pathlib import Path

from ...errors import TrimformerError
from ..data import Examples, Task
from ..settings import TaskSettings
from ..tables.questions import ENDINGS, from_table, read_questions
from .hub import load_split, local_folder

HUB = "rajpurkar/squad"
METRICS = ("f1", "exact_match")
STEMS = {"train": ("train-v1.1", "train"), "validation": ("dev-v1.1", "dev", "validation")}


def load(settings: TaskSettings) -> tuple[Task, Examples, Examples]:
    """The task with its training and validation questions; raises TrimformerError where something is missing."""
    return _task(settings), _split(settings, "train"), _split(settings, "validation")


def load_validation(settings: TaskSettings) -> tuple[Task, Examples]:
    """The task with its validation questions alone."""
    return _task(settings), _split(settings, "validation")


def load_custom(train: Path, validation: Path | None, settings: TaskSettings) -> tuple[Task, Examples, Examples | None]:
    """The task of the user's own files (see `read_questions`), their questions, and None without a validation file."""
    source = f"train: {train}" + ("" if validation is None else f"; validation: {validation}")
    examples = read_questions(train, settings)
    return _custom(source), examples, None if validation is None else read_questions(validation, settings)


def load_custom_validation(path: Path, settings: TaskSettings) -> tuple[Task, Examples]:
    """The task and the questions of a validation file alone."""
    return _custom(f"validation: {path}"), read_questions(path, settings)


def _task(settings: TaskSettings) -> Task:
    return Task("squad", "spans", (), METRICS, f"SQuAD v1.1 from {settings.data or HUB}")


def _custom(source: str) -> Task:
    return Task("custom", "spans", (), METRICS, source)


def _split(settings: TaskSettings, split: str) -> Examples:
    folder = local_folder(settings.data)
    if folder is None:
        return from_table(load_split(settings.data or HUB, None, split, ()), TaskSettings())
    names = [stem + ending for stem in STEMS[split] for ending in ENDINGS]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise TrimformerError(
            f"task.data: {folder} has no {' or '.join(names[::2])} (plain or .gz); "
            "set it to the folder that holds the SQuAD v1.1 files"
        )
    return read_questions(found, settings)
