"""The two halves of a split model in PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...encoder.model.heads import TrimformerWithHead
from ...threads import torch_threads


class TorchHalves:
    """A split model. threads: inside one operator, None = as PyTorch is set."""

    def __init__(self, model: TrimformerWithHead, threads: int | None = None) -> None:
        self.model, self.threads = model, threads

    def lower(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch_threads(self.threads), torch.inference_mode():
            given = {name: torch.from_numpy(array) for name, array in inputs.items()}
            states: np.ndarray = self.model.encoder.lower(**given).float().numpy()
        return states

    def upper(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        real = torch.from_numpy(mask)
        with torch_threads(self.threads), torch.inference_mode():
            known = (torch.from_numpy(states).to(self.model.dtype),) * self.model.config.split_layers
            # With known states no token is looked up: any ids of this form will do.
            logits: np.ndarray = self.model(real, real, known_states=known).logits.float().numpy()
        return logits


def digest_of_lower(model: Any) -> str:
    """A digest of the embeddings and the lower layers: their weights, and what is computed with them."""
    config = model.config
    shape = {
        "layers": (config.layers or [])[: config.split_layers],
        "kind": [config.layer_kind, config.hidden_act, config.layer_norm_eps, config.positions],
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
