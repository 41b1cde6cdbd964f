"""Run a model over a tokenised split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..encoder.gates import Gates
from ..tasks.batches import bucketed_batches
from ..tasks.encode import Encoded


def predict_logits(
    model: Callable[..., Any],
    data: Encoded,
    *,
    batch_size: int = 64,
    gates: Gates | None = None,
    device: torch.device | None = None,
) -> np.ndarray:
    """Logits (examples, labels) in the order of the data; batches are sorted by length so that little is padded."""
    batches = bucketed_batches(data.lengths, batch_size, seed=0, epoch=0, shuffle=False)
    logits: np.ndarray | None = None
    with torch.no_grad(), evaluating(model):
        for indices in batches:
            batch = {k: v.to(device) if device else v for k, v in data.batch(indices).items() if k != "labels"}
            out: Tensor = model(**batch, gates=gates).logits
            if logits is None:
                logits = np.zeros((len(data), out.shape[-1]), dtype=np.float32)
            logits[np.asarray(indices)] = out.float().cpu().numpy()
    if logits is None:
        raise ValueError("there is nothing to evaluate")
    return logits


class evaluating:
    """Dropout off inside the block, and back to what it was after it."""

    def __init__(self, *models: Any) -> None:
        self.models = [model for model in models if isinstance(model, nn.Module)]

    def __enter__(self) -> None:
        self.before = [model.training for model in self.models]
        for model in self.models:
            model.eval()

    def __exit__(self, *_: object) -> None:
        for model, training in zip(self.models, self.before, strict=True):
            model.train(training)
