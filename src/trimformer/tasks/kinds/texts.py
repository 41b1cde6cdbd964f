"""What the kinds for whole texts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data import Examples, Task
from ..encoding import texts
from ..labels import is_score_of_one, match_labels, nameless, taken_for
from ..metric import CLASS_F1
from .base import TaskKind

ONE_OUTPUT = "The checkpoint's head has one output, which was taken to be the score of 1 against 0."


class TextKind(TaskKind):
    """One answer for each text, or couple of texts."""

    form = "texts"
    tokenise = staticmethod(texts.tokenise)
    per_token = False
    reads = ("text_pair", "truncation")
    columns = ("text", None)

    def relabel(self, task: Task, labels: Sequence[str], parts: Sequence[Examples]) -> tuple[Task, np.ndarray | None]:
        """Names are compared as `match_labels` says; a metric of one class is then called by the model's name of it.

        A model without names gets those of the data. One output has no classes to match: it may be the score of 1
        against 0, and else callers compare the kinds.
        """
        if self.name == "classification" and is_score_of_one(labels, task.labels):
            return replace(task, one_output=True, note=ONE_OUTPUT), None
        if len(labels) < 2:
            return task, None
        ids, note = np.asarray(match_labels(task.labels, labels), dtype=np.int64), ""
        if nameless(labels) and not set(labels).issuperset(task.labels):
            labels = task.labels if len(labels) == len(task.labels) else [str(i) for i in range(len(labels))]
            note = taken_for(labels)
        positive = int(ids[task.positive]) if task.positive < len(ids) else task.positive
        renamed = {CLASS_F1 + old: CLASS_F1 + labels[i] for old, i in zip(task.labels, ids.tolist(), strict=True)}
        metrics = tuple(renamed.get(name, name) for name in task.metrics)
        return replace(task, labels=tuple(labels), positive=positive, metrics=metrics, note=note), ids

    def examples(self, rows: Sequence[Any]) -> Examples:
        return Examples(list(rows), None, [])
