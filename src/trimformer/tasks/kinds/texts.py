"""What the kinds for whole texts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data import Examples, Task
from ..encoding import texts
from ..labels import match_labels
from ..metric import CLASS_F1
from .base import TaskKind


class TextKind(TaskKind):
    """One answer for each text, or couple of texts."""

    form = "texts"
    tokenise = staticmethod(texts.tokenise)
    per_token = False
    reads = ("text_pair", "truncation")
    columns = ("text", None)

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, np.ndarray | None]:
        """Names are compared as `match_labels` says; a metric of one class is then called by the model's name of it.

        One output has no classes to match: callers compare the kinds.
        """
        if len(labels) < 2:
            return task, None
        ids = np.asarray(match_labels(task.labels, labels), dtype=np.int64)
        positive = int(ids[task.positive]) if task.positive < len(ids) else task.positive
        renamed = {CLASS_F1 + old: CLASS_F1 + labels[i] for old, i in zip(task.labels, ids.tolist(), strict=True)}
        metrics = tuple(renamed.get(name, name) for name in task.metrics)
        return replace(task, labels=tuple(labels), positive=positive, metrics=metrics), ids

    def examples(self, rows: Sequence[Any]) -> Examples:
        return Examples(list(rows), None, [])
