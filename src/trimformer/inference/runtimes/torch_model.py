"""The weights of a folder in PyTorch, for where there is no exported file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from ...encoder.checkpoints.load import load_with_head
from ...threads import torch_threads
from .exits import executed_of


class TorchModelSession:
    """A model with a task head in PyTorch on the CPU; ``threads`` inside one operator, None = as PyTorch is set.

    ``executed`` counts the layers of texts, where the model has exits; else it is None.
    Raises TrimformerError for a folder without the files needed, and a model without a task head.
    """

    output = "logits"

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        self.model, self.threads = load_with_head(folder), threads
        self.executed = executed_of(None, self.model.config)

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The logits. inputs: int64 (batch, n); ``token_type_ids`` may be left out."""
        given = {name: torch.from_numpy(np.asarray(values)) for name, values in inputs.items()}
        with torch_threads(self.threads), torch.inference_mode():
            found = self.model(**given)
        if self.executed is not None:
            self.executed.add(found.executed.tolist())
        logits: np.ndarray = found.logits.numpy()
        return logits
