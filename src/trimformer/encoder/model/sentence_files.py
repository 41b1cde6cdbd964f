"""The files beside an embedding model from which sentence-transformers makes the same vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ...saved.modules import MODULES
from ..shape.config import TrimformerConfig
from ..shape.embedding import POOLINGS, EmbeddingShape

SETTINGS = "config_sentence_transformers.json"
# Spelled as older releases do, which newer ones read, too.
POOLING_KEYS = {
    name: f"pooling_mode_{long}"
    for name, long in zip(
        POOLINGS,
        ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"),
        strict=True,
    )
}


def write_modules(folder: Path, config: TrimformerConfig, weights: Mapping[str, Tensor]) -> None:
    """Write modules.json and a folder for each module after the encoder. weights: of the head, by name."""
    shape, width = EmbeddingShape.read(config.embedding), config.hidden_size
    modules = ["Transformer"]

    def add(kind: str, values: dict[str, Any]) -> Path:
        place = folder / f"{len(modules)}_{kind}"
        place.mkdir(exist_ok=True)
        modules.append(kind)
        if values:
            _write(place / "config.json", values)
        return place

    modes = {key: name == shape.pooling for name, key in POOLING_KEYS.items()}
    add("Pooling", {"word_embedding_dimension": width, **modes, "include_prompt": True})
    for index, dense in enumerate(shape.dense):
        activation = "linear" if dense.activation == "Identity" else "activation"
        values = {
            "in_features": width,
            "out_features": dense.size,
            "bias": dense.bias,
            "activation_function": f"torch.nn.modules.{activation}.{dense.activation}",
        }
        prefix = f"dense.{index}."
        own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        save_file(
            {name: w.detach().cpu().contiguous() for name, w in own.items()}, add("Dense", values) / "model.safetensors"
        )
        width = dense.size
    if shape.normalize:
        add("Normalize", {})
    listed = [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(modules)
    ]
    _write(folder / MODULES, listed)
    if shape.settings:
        _write(folder / SETTINGS, shape.settings)


def _write(file: Path, values: Any) -> None:
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")
