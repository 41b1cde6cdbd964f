"""The recipes that ``compress`` makes of a method or of a budget."""

from __future__ import annotations

from typing import Any

from ..tasks.settings import TaskSettings
from ..training.settings import ObjectiveSettings, TrainingSettings
from .reading import checked_method, parse
from .settings import Recipe

DISTILLED = ObjectiveSettings(logits=1.0, hidden=1.0)
SEARCH_OBJECTIVES = {
    "greedy": DISTILLED,
    "hard-concrete": ObjectiveSettings(logits=1.0),  # states would have to keep the width that its gates take
}
"""Of the methods that distil while they search, too."""


def standard_recipe(
    model: str,
    task: TaskSettings,
    out: str,
    *,
    method: dict[str, Any],
    training: TrainingSettings | None = None,
    seed: int = 0,
) -> Recipe:
    """What ``compress`` does by default for a method (``{"name": "attendout", "keep_layers": 3}``).

    A method starts from the dense fine-tuned model and ends with a fine-tuning that distils from it; ``greedy`` and
    ``hard-concrete`` distil while they search, too. Faithful AttendOut starts from the pre-trained weights and ends
    with plain fine-tuning, as published; ``none`` is that plain fine-tuning alone.
    """
    name = checked_method(method).name
    training = training or TrainingSettings()
    first = {
        "name": "finetune" if name == "none" else "search",
        "method": method,
        "start": "pretrained" if name == "attendout-faithful" else "dense",
        "objective": SEARCH_OBJECTIVES.get(name, ObjectiveSettings()),
        "training": training,
    }
    repair = {
        "name": "repair",
        "method": {"name": "none"},
        "objective": ObjectiveSettings() if name == "attendout-faithful" else DISTILLED,
        "training": training,
    }
    stages = [first] if name == "none" else [first, repair]
    return parse(
        {"model": model, "task": task, "out": out, "seed": seed, "dense": training, "stages": stages},
        "these settings",
    )


def autopilot_recipe(
    model: str,
    task: TaskSettings,
    out: str,
    *,
    budget: dict[str, Any],
    batch: int = 1,
    length: int | None = None,
    training: TrainingSettings | None = None,
    seed: int = 0,
) -> Recipe:
    """A search within a budget, ``{"max_drop": 0.5}`` and the like; ``batch`` and ``length`` are what is to be fast."""
    training = training or TrainingSettings()
    measured = {"batch": [batch], "length": None if length is None else [length]}
    return parse(
        {
            "model": model, "task": task, "out": out, "seed": seed, "dense": training,
            "autopilot": budget | {"training": training}, "measure": measured,
        },
        "these settings",
    )  # fmt: skip
