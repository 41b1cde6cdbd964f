"""The two halves of a model in PyTorch, and by what the states of a passage are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ...tasks.cuts import Cuts
from ...tasks.kinds import KINDS
from ...threads import torch_threads

UNSAVED = ("truncation", "padding")
"""Settings of a fast tokenizer that are those of its last call."""


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


def require_split(config: TrimformerConfig, model: object) -> None:
    """Raise TrimformerError where no layer sees each text by itself."""
    if not config.split_layers:
        raise TrimformerError(
            f"All layers of the model in {model} see both texts of a pair, so that nothing of a passage alone can be "
            "kept: split it first (trimformer compress --method deformer)."
        )


def made_by(model: TrimformerWithHead, tokenizer: PreTrainedTokenizerBase, cuts: Cuts) -> dict[str, Any]:
    """All that the states of a passage depend on."""
    config = model.config
    return {
        "split_layers": config.split_layers,
        "hidden_size": config.hidden_size,
        "weights": _weights(model),
        "tokenizer": _tokenizer(tokenizer),
        "windows": KINDS[model.kind].per_token,
        **cuts._asdict(),
    }


def _weights(model: TrimformerWithHead) -> str:
    """A digest of the embeddings and the lower layers: their weights, and what is computed with them."""
    config = model.config
    shape = {
        "layers": (config.layers or [])[: config.split_layers],
        "kind": [config.layer_kind, config.hidden_act, config.layer_norm_eps, config.positions],
    }
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    body: Any = model.encoder
    parts = {"embeddings": body.embeddings} | {
        str(index): layer for index, layer in enumerate(body.layers[: config.split_layers])
    }
    for place, part in parts.items():
        for name, weight in part.state_dict().items():
            digest.update(f"{place}.{name}{weight.dtype}{tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    fast: Any = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise TrimformerError(
            "Passages need a fast tokenizer, which says where tokens stand in a text: save tokenizer.json beside the "
            "model."
        )
    content = {name: value for name, value in json.loads(fast.to_str()).items() if name not in UNSAVED}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
