"""The threshold of the exits of a file that rounds, chosen by what the file itself answers.

What an exit says of a text in int8 is not what it says in fp32, and whether it is sure of it is decided by small
differences: at the threshold of fp32 more texts may leave than the budget allows, or none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files import atomic_file
from ..inference.reading import exits_in
from ..inference.runtimes.exits import ExitSession
from ..saved.config import CONFIG, read_json
from ..saved.exits import ExitShape
from ..tasks.data import Task
from ..tasks.encoding.encoded import Encoded
from ..tasks.exits import cheapest, tried
from ..training.evaluate import predict_logits


def settle(session: ExitSession, task: Task, data: Encoded) -> float:
    """Choose the threshold of a file on these rows, and let its texts leave by it; returns it.

    It is the one at which a text needs the fewest layers, of those that lose no more than ``max_drop`` of the exits
    beside the same file with all layers.
    """

    def call(gates: None, **inputs: Tensor) -> Any:
        return SimpleNamespace(logits=torch.from_numpy(np.concatenate(session.run_through(inputs), -1)))

    shape = session.shape
    every = predict_logits(call, data, title="Choosing the threshold")
    found = tried(shape, task, data, np.split(every, len(shape.after) + 1, -1))
    layers = [*(layer + 1 for layer in shape.after), session.layers]
    session.shape = found[cheapest(found, layers, task, shape.max_drop)].shape
    return session.shape.threshold


def keep_thresholds(folder: Path, thresholds: Mapping[str, float | None]) -> None:
    """Write thresholds of files of a model with exits, by their back-ends, into the config.json beside them.

    None: the file has none of its own, so that an older one goes. Those of other files stay.
    """
    file = folder / CONFIG
    values = read_json(file)
    known = values["exits"].pop("thresholds", {}) | thresholds
    if own := {name: threshold for name, threshold in known.items() if threshold is not None}:
        values["exits"]["thresholds"] = own
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def thresholds_in(folder: Path, exits: Mapping[str, Any]) -> dict[str, float]:
    """Those that config.json in a folder gives its files, where it is that of a model with these exits."""
    found = exits_in(folder) if (folder / CONFIG).is_file() else None
    if found is None or {**found, "thresholds": None} != {**ExitShape.read(exits).to_dict(), "thresholds": None}:
        return {}
    return dict(found.get("thresholds", {}))
