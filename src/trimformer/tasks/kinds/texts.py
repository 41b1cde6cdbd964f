"""What the kinds for whole texts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data import Examples, Task
from ..encoding import texts
from ..labels import match_labels
from .base import TaskKind


class TextKind(TaskKind):
    """One answer for each text, or couple of texts."""

    form = "texts"
    tokenise = staticmethod(texts.tokenise)
    per_token = False
    reads = ("text_pair", "truncation")
    columns = ("text", None)

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, np.ndarray | None]:
        """Names are compared as `match_labels` says. One output has no classes to match: callers compare the kinds."""
        if len(labels) < 2:
            return task, None
        ids = np.asarray(match_labels(task.labels, labels), dtype=np.int64)
        positive = int(ids[task.positive]) if task.positive < len(ids) else task.positive
        return replace(task, labels=tuple(labels), positive=positive), ids

    def examples(self, rows: Sequence[Any]) -> Examples:
        return Examples(list(rows), None, [])
