"""A split model in two files: the layers that see each text of a pair by itself, and those that see both.

The lower one is an encoder of its own, from tokens to states; the upper one goes on from states, and so takes those
that were kept of a passage. See :mod:`trimformer.inference.runtimes.halves` for what runs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..encoder import TrimformerConfig, TrimformerModel, TrimformerWithHead
from ..encoder.model.exported import ExportedEncoder, LaterSegment
from ..inference.runtimes.halves import DIGEST, lower_of
from ..inference.runtimes.onnx import require_onnx
from ..inference.runtimes.torch_model import digest_of_lower
from . import onnx


def write_halves(model: Any, path: Path) -> None:
    """Write the ONNX files of a split fp32 model in evaluation mode, which is of no other use afterwards.

    Raises TrimformerError where the ``onnx`` extra is missing.
    """
    require_onnx()
    digest, split = digest_of_lower(model), model.config.split_layers
    ids = onnx.random_inputs(model.config, 2, min(16, model.config.max_tokens))
    lower = ExportedEncoder(lower_half(model))
    model.config.split_layers = 0  # the upper layers alone are written of it from now on
    upper = LaterSegment(model, split, model.config.num_hidden_layers)
    output = "logits" if isinstance(model, TrimformerWithHead) else "last_hidden_state"
    states = torch.randn(*ids["input_ids"].shape, model.config.hidden_size)
    with onnx.quiet_exporter():
        graphs = (
            onnx.traced(lower, ids, ["last_hidden_state"]),
            onnx.traced(upper, {"states": states, "attention_mask": ids["attention_mask"]}, [output]),
        )
    graphs[0].metadata_props.add(key=DIGEST, value=digest)
    onnx.save(graphs[0], lower_of(path), lower)
    onnx.save(graphs[1], path, upper)


def lower_half(model: Any) -> TrimformerModel:
    """The encoder of the lower layers, which holds the weights of the model."""
    split = model.config.split_layers
    body = model.encoder if isinstance(model, TrimformerWithHead) else model
    with torch.device("meta"):
        lower = TrimformerModel(_lower_config(model.config))
    lower.embeddings, lower.layers, lower.norm = body.embeddings, nn.ModuleList(body.layers[:split]), nn.Identity()
    return lower


def _lower_config(config: TrimformerConfig) -> TrimformerConfig:
    """The configuration of the lower layers alone."""
    split = config.split_layers
    values, shared = config.to_dict(), config.sharing and config.sharing[:split]
    return type(config).from_dict(values | {"layers": values["layers"][:split], "sharing": shared, "split_layers": 0})
