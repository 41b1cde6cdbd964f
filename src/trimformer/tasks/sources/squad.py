"""SQuAD v1.1, from its original JSON files or from the hub."""

from __future__ import annotations

from ..data import Examples, MissingRows, Task
from ..kinds import KINDS
from ..settings import TaskSettings
from ..tables.questions import ENDINGS, from_table, read_questions
from .hub import load_split, local_folder

HUB = "rajpurkar/squad"
STEMS = {"train": ("train-v1.1", "train"), "validation": ("dev-v1.1", "dev", "validation")}


def load(settings: TaskSettings) -> tuple[Task, Examples, Examples]:
    """The task with its training and validation questions; raises TrimformerError where something is missing."""
    return _task(settings), _split(settings, "train"), _split(settings, "validation")


def load_validation(settings: TaskSettings) -> tuple[Task, Examples]:
    """The task with its validation questions alone."""
    return _task(settings), _split(settings, "validation")


def _task(settings: TaskSettings) -> Task:
    return Task("squad", "spans", (), KINDS["spans"].metrics(()), f"SQuAD v1.1 from {settings.data or HUB}")


def _split(settings: TaskSettings, split: str) -> Examples:
    folder = local_folder(settings.data)
    if folder is None:
        return from_table(load_split(settings.data or HUB, None, split, ()), TaskSettings())
    names = [stem + ending for stem in STEMS[split] for ending in ENDINGS]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise MissingRows(
            f"The folder {folder} has no {' or '.join(names[::2])} (plain or .gz): "
            "set task.data to the folder that holds the SQuAD v1.1 files."
        )
    return read_questions(found, settings)
