"""The weights of a folder in PyTorch, for where there is no exported file."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ...encoder.checkpoints.load import load_with_head
from ...encoder.model.heads import TrimformerWithHead
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

    @functools.cached_property
    def digest(self) -> str:
        """See :func:`digest_of_lower`."""
        return digest_of_lower(self.model)

    def lower(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Of a split model: states of texts, each alone in its row, float32 (batch, n, hidden)."""
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        with torch_threads(self.threads), torch.inference_mode():
            states: np.ndarray = self.model.encoder.lower(**given).float().numpy()
        return states

    def upper(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What a split model gives for rows whose states are known."""
        real = torch.from_numpy(mask)
        with torch_threads(self.threads), torch.inference_mode():
            known = (torch.from_numpy(states).to(self.model.dtype),) * self.model.config.split_layers
            # Nothing is made of the tokens where states are known: any ids of this form will do.
            logits: np.ndarray = self.model(real, real, known_states=known).logits.float().numpy()
        return logits


def digest_of_lower(model: Any) -> str:
    """A digest of the embeddings and the lower layers: their weights, and what is computed with them."""
    config = model.config
    shape = {
        "layers": (config.layers or [])[: config.split_layers],
        "kind": [*(config.layer_kind, config.hidden_act, config.layer_norm_eps, config.positions, config.pad_token_id)],
    }
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    body = model.encoder if isinstance(model, TrimformerWithHead) else model
    parts = {"embeddings": body.embeddings} | {
        str(index): layer for index, layer in enumerate(body.layers[: config.split_layers])
    }
    for place, part in parts.items():
        for name, weight in part.state_dict().items():
            digest.update(f"{place}.{name}{weight.dtype}{tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
