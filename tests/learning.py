"""A tiny task and the context of a stage, for tests that train."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from tests.models import tiny
from trimformer.methods import METHODS, Context
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encode import Encoded
from trimformer.training.loop import total_steps
from trimformer.training.objective import ObjectiveSettings
from trimformer.training.settings import TrainingSettings

TASK = Task("toy", "classification", ("a", "b"), ("accuracy",), "made in the test")


def toy_data(rows: int, seed: int = 0) -> Encoded:
    """Rows of 5 to 12 tokens; the label says whether token 7 occurs."""
    rng = np.random.default_rng(seed)
    texts = []
    labels = np.arange(rows) % 2
    for label in labels:
        ids = rng.integers(8, 50, rng.integers(4, 12))
        if label:
            ids[rng.integers(len(ids))] = 7
        texts.append(np.concatenate([[2], ids]))
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    ids = np.concatenate(texts).astype(np.int32)
    examples = Examples(["" for _ in texts], None, labels.tolist())
    return Encoded(ids, None, offsets, labels.astype(np.int64), 0, 0, "classification", examples)


def context(
    *, rows: int = 48, layers: int = 3, seed: int = 0, objective: dict[str, Any] | None = None, **training: Any
) -> Context:
    """A stage over the toy task from a tiny random model."""
    train, selection = toy_data(rows, seed=1), toy_data(24, seed=2)
    settings = TrainingSettings(**({"epochs": 1, "batch_size": 8, "learning_rate": 1e-3} | training))
    wanted = ObjectiveSettings(**(objective or {}))
    return Context(
        model=tiny(layers, labels=2, seed=seed),
        teacher=tiny(layers, labels=2, seed=seed) if wanted.needs_teacher else None,
        task=TASK,
        train=train,
        selection=selection,
        training=settings,
        objective=wanted,
        accelerator=Accelerator(mixed_precision="no", cpu=True),
        seed=seed,
        steps=total_steps(len(train), settings),
    )


def make_method(name: str, stage: Context, **settings: Any) -> Any:
    """A method by name, seeded."""
    torch.manual_seed(stage.seed)
    return METHODS[name](METHODS[name].Settings(**settings), stage)


def batches(stage: Context, count: int) -> list[dict[str, torch.Tensor]]:
    """Some training batches."""
    size = stage.training.batch_size
    return [stage.train.batch(range(i * size, (i + 1) * size)) for i in range(count)]
