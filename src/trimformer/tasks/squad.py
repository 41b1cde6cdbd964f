"""SQuAD v1.1, from its original JSON files or from the hub, and files of the user that are made like it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.files import Table
from trimformer.tasks.questions import ENDINGS, from_table, read_questions
from trimformer.tasks.settings import TaskSettings

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
    folder = None if settings.data is None else Path(settings.data).expanduser()
    if folder is None or (not folder.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(settings.data))):
        return from_table(_from_hub(settings.data or HUB, split), TaskSettings())
    names = [stem + ending for stem in STEMS[split] for ending in ENDINGS]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        problem = f"has no {' or '.join(names[::2])} (plain or .gz)" if folder.is_dir() else "is no folder"
        raise TrimformerError(f"task.data: {folder} {problem}; set it to the folder that holds the SQuAD v1.1 files")
    return read_questions(found, settings)


def _from_hub(dataset: str, split: str) -> Table:
    import datasets

    try:
        loaded: Any = datasets.load_dataset(dataset, split=split)
    except Exception as error:  # hub, network and cache raise all kinds: the user needs one sentence
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise TrimformerError(
            f"task.data: {dataset} is no folder here, and the {split} split of a hub dataset of that name cannot be "
            f"loaded ({reason}); give a folder with the SQuAD v1.1 files, or check the id and the network"
        ) from error
    rows = list(zip(*(list(loaded[name]) for name in loaded.column_names), strict=True))
    return Table(Path(dataset) / split, list(loaded.column_names), list(rows), list(range(1, len(rows) + 1)))
