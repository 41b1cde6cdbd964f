"""The runs of ``students.py --experiment architecture``: searched shapes of one cost, and their baselines."""

from __future__ import annotations

from typing import Any

Stage = dict[str, Any]

TARGET = 0.6
"""Share of the operations of the dense model's layers that stays; of their milliseconds on this machine in -ms."""
MIXERS = 0.85
"""The same where only what mixes the tokens is searched: what is left with half of the attention layers a mean."""
EPOCHS = 2
"""Of training after the dense model, for every run; a search that trains has one of them."""
SPACES = ["inputs", "query_key", "values", "ffn"]
LAYERWISE = {"task": 1.0, "logits": 1.0, "hidden": 1.0}
LOGITS = {"task": 1.0, "logits": 1.0}

FOUND: dict[str, Stage] = {
    "uniform": {"name": "uniform", "target": TARGET},
    "uniform-ms": {"name": "uniform", "target": TARGET, "cost": "ms"},
    "importance": {"name": "importance", "target": TARGET},
    "random": {"name": "random", "target": TARGET, "trials": 30, "rows": 300},
    "random-one": {"name": "random", "target": TARGET, "trials": 1, "rows": 300},
    "tpe": {"name": "tpe", "target": TARGET, "trials": 30, "rows": 300},
    "last-k": {"name": "last-k", "keep_layers": 3},
}
"""Methods that train nothing."""
TRAINED: dict[str, Stage] = {
    "hard-concrete": {"name": "hard-concrete", "target": TARGET},
    "hard-concrete-ms": {"name": "hard-concrete", "target": TARGET, "cost": "ms"},
    "tas": {"name": "tas", "target": TARGET},
    "tas-ms": {"name": "tas", "target": TARGET, "cost": "ms", "parts": ["heads", "units"]},
    "dynabert": {"name": "dynabert", "width": TARGET, "widths": [1.0, TARGET], "depths": [1.0]},
    "nas-masks": {"name": "nas-masks", "target": TARGET, "cost": "flops", "spaces": SPACES},
    "darts": {"name": "darts", "target": MIXERS},
    "darts-ms": {"name": "darts", "target": MIXERS, "cost": "ms"},
    "attendout": {"name": "attendout", "keep_layers": 3},
}  # fmt: skip
"""Methods that train weights while they search."""


def architecture() -> dict[str, list[Stage]]:
    """The recipes by name: a stage that finds the shape, and the training that makes all equally long."""
    made = {"trained-on": [trained("finetune", EPOCHS, LAYERWISE)]}
    for name, method in FOUND.items():
        made[name] = [{"method": method}, trained("finetune", EPOCHS, LAYERWISE)]
    for name, method in TRAINED.items():
        made[name] = [trained(method, 1, LOGITS), trained("finetune", EPOCHS - 1, LAYERWISE)]
    return made


def trained(method: Any, epochs: float, objective: Stage) -> Stage:
    return {"method": method, "objective": objective, "training": {"epochs": epochs, "learning_rate": 1e-4}}
