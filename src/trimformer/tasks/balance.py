"""What a score hides: a class that nearly all rows have, and classes that a model never answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .data import Task
from .kinds import KINDS
from .labels import shown
from .outcome import Outcome

MOST = 0.9
"""The share of the rows from which on a class is said to be nearly all of them."""


def balance_notes(task: Task, outcomes: Mapping[str, Outcome], rows: str) -> list[str]:
    """Warnings in sentences, none where the classes are balanced and all of them answered.

    outcomes: of models by what they are called, on the same rows. rows: what these are called.
    """
    if task.kind not in ("classification", "multilabel"):
        return []
    truth = next(iter(outcomes.values())).truth
    there = _occurring(task, truth)
    largest, share = "", 0.0
    if task.kind == "classification":
        counts = np.bincount(truth, minlength=len(task.labels))
        largest, share = task.labels[int(counts.argmax())], float(counts.max() / len(truth))
    notes = []
    if share >= MOST:
        notes.append(
            f"WARNING: {100 * share:.1f} % of the {len(truth):,} {rows} rows have the label {largest}, so that a model "
            f"which always answers {largest} has an accuracy of {share:.3f}."
        )
    for name, found in outcomes.items():
        missed = [task.labels[i] for i in np.flatnonzero(there & ~_occurring(task, found.answers))]
        if share < MOST and not missed:
            continue
        macro = KINDS[task.kind].measure(task, "f1_macro")(found.answers, truth)
        said = f"{name} has a macro F1 of {macro:.3f} on the {rows} rows"
        notes.append(f"WARNING: {said} and never answers {shown(missed)}." if missed else f"{said}.")
    if notes and task.metrics[0] in ("accuracy", "f1_micro"):
        notes[-1] += f" The score is {task.metrics[0]}; --metric f1_macro decides by all classes alike."
    return notes


def _occurring(task: Task, answers: np.ndarray) -> np.ndarray:
    """Which labels are in truth or answers, bool (labels,)."""
    if answers.ndim == 2:
        return np.asarray(answers.any(axis=0))
    return np.bincount(answers, minlength=len(task.labels)) > 0
