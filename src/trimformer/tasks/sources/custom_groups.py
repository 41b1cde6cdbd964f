"""Which of the user's own rows belong together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import TrimformerError
from ..data import Examples, Task
from ..labels import composed
from ..settings import TaskSettings
from ..tables.files import ENDINGS, ending, read_table
from ..tables.rows import text_column


def grouped(examples: Examples, path: Path, settings: TaskSettings) -> Examples:
    """The rows of this file with their groups, if a column is named for them.

    Raises TrimformerError for a file that is no table, a missing column and an empty cell.
    """
    if settings.group is None:
        return examples
    if f".{ending(path)}" not in ENDINGS:
        raise TrimformerError(f"The setting task.group names a column of a table, which {path} is not: remove it.")
    table = read_table(path)
    groups = [composed(name) for name in text_column(table, settings.group)]
    if "" in groups:
        raise TrimformerError(
            f"In {table.where(groups.index(''))}, the column '{settings.group}' is empty, so that it is open what the "
            "row belongs to: fill it in or remove the row."
        )
    return replace(examples, groups=groups)


def groups_said(task: Task, train: Examples, validation: Examples | None) -> Task:
    """The task, whose source says how many groups there are, and how many are in both files.

    Raises TrimformerError where all training rows are of one group, which cannot be held out from itself.
    """
    if train.groups is None:
        return task
    known = set(train.groups)
    if len(known) == 1:
        raise TrimformerError(
            f"All training rows belong to one group ('{train.groups[0]}'): name a column with several values in "
            "task.group, or leave it out."
        )
    said = f"training rows in {len(known)} groups"
    shared = known & set((validation and validation.groups) or [])
    if shared:
        said += f", {len(shared)} of which have validation rows, too, so that scores there are too kind"
    return replace(task, source=f"{task.source}; {said}")
