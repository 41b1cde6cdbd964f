"""The runs of ``students.py --experiment architecture`` and ``milliseconds``: searched shapes of one cost, and their
baselines.
"""

from __future__ import annotations

from typing import Any

Stage = dict[str, Any]

TARGET = 0.6
"""Share of the operations of the dense model's layers that stays."""
MIXERS = 0.85
"""The same where only what mixes the tokens is searched: what is left with half of the attention layers a mean."""
EPOCHS = 2
"""Of training after the dense model, for every run; a search that trains has one of them."""
SPACES = ["inputs", "query_key", "values", "ffn"]
LAYERWISE = {"task": 1.0, "logits": 1.0, "hidden": 1.0}
LOGITS = {"task": 1.0, "logits": 1.0}

FOUND: dict[str, Stage] = {
    "uniform": {"name": "uniform", "target": TARGET},
    "importance": {"name": "importance", "target": TARGET},
    "random": {"name": "random", "target": TARGET, "trials": 30, "rows": 300},
    "tpe": {"name": "tpe", "target": TARGET, "trials": 30, "rows": 300},
    "last-k": {"name": "last-k", "keep_layers": 3},
}
"""Methods that train nothing."""
TRAINED: dict[str, Stage] = {
    "hard-concrete": {"name": "hard-concrete", "target": TARGET},
    "tas": {"name": "tas", "target": TARGET},
    "dynabert": {"name": "dynabert", "width": TARGET, "widths": [1.0, TARGET], "depths": [1.0]},
    "nas-masks": {"name": "nas-masks", "target": TARGET, "cost": "flops", "spaces": SPACES},
    "darts": {"name": "darts", "target": MIXERS},
    "attendout": {"name": "attendout", "keep_layers": 3},
}  # fmt: skip
"""Methods that train weights while they search."""


MILLISECONDS: dict[str, Stage] = {
    "uniform": {"cost": "ms"},
    "hard-concrete": {"cost": "ms"},
    "tas": {"cost": "ms", "parts": ["heads", "units"]},
    "dynabert": {},
    "darts": {"cost": "ms"},
    "attendout": {},
}
"""The same methods where milliseconds of this machine are counted, and what they are asked for then; widths and numbers
of layers that a method is given stay.
"""


def architecture() -> dict[str, list[Stage]]:
    """The recipes by name: a stage that finds the shape, and the training that makes all equally long."""
    made = {"trained-on": [trained("finetune", EPOCHS, LAYERWISE)]}
    for name, method in FOUND.items():
        made[name] = [{"method": method}, trained("finetune", EPOCHS, LAYERWISE)]
    for name, method in TRAINED.items():
        made[name] = [trained(method, 1, LOGITS), trained("finetune", EPOCHS - 1, LAYERWISE)]
    return made


def milliseconds() -> dict[str, list[Stage]]:
    """Those of them that can count milliseconds, beside the training without a search."""
    made = architecture()
    for name, asked in MILLISECONDS.items():
        made[name][0]["method"] = made[name][0]["method"] | asked
    return {name: made[name] for name in ("trained-on", *MILLISECONDS)}


def trained(method: Any, epochs: float, objective: Stage) -> Stage:
    return {"method": method, "objective": objective, "training": {"epochs": epochs, "learning_rate": 1e-4}}
