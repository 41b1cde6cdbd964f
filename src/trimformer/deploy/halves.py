"""A split model in two files: the layers that see each text of a pair by itself, and those that see both.

The lower one is an encoder of its own, from tokens to states; the upper one goes on from states, and so takes those
that were kept of a passage. See :mod:`trimformer.inference.runtimes.halves` for what runs them.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..encoder import TrimformerConfig, TrimformerModel, TrimformerWithHead
from ..encoder.model.exported import ExportedEncoder
from ..errors import TrimformerError, explain_write_errors
from ..inference.runtimes.backends import file_backend
from ..inference.runtimes.halves import DIGEST, lower_of
from ..inference.runtimes.onnx import require_onnx
from ..inference.runtimes.torch_model import digest_of_lower
from . import onnx, quantize_onnx

BACKENDS = ("onnx", "onnx-int8")


def write_halves(model: TrimformerModel | TrimformerWithHead, backend: str, folder: Path) -> Path:
    """Write both files for a back-end into ``folder``, unless they are there already; returns the upper one.

    Raises TrimformerError for another back-end, a model that was trained for int8, and where the extra is missing.
    """
    if backend not in BACKENDS or model.config.input_ranges is not None:
        raise TrimformerError(
            "A model whose first layers see each text of a pair by itself is exported for ONNX Runtime alone, without "
            f"ranges of its own: use one of {', '.join(BACKENDS)}."
        )
    require_onnx()
    target = folder / file_backend(backend).file
    if target.is_file():
        return target
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        source = None if backend == "onnx" else write_halves(model, "onnx", folder)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / target.name
            if source is None:
                _fp32(copy.deepcopy(model).cpu().float().eval(), made)
            else:
                quantize_onnx.onnx_int8(source, made)
                quantize_onnx.onnx_int8(lower_of(source), lower_of(made))
            for file in (lower_of(made), made):
                file.replace(folder / file.name)
    return target


def _fp32(model: Any, path: Path) -> None:
    config = model.config
    ids = onnx.random_inputs(config, 2, min(16, config.max_tokens))
    lower, upper = ExportedEncoder(lower_half(model)), UpperHalf(model)
    output = "logits" if isinstance(model, TrimformerWithHead) else "last_hidden_state"
    states = torch.randn(*ids["input_ids"].shape, config.hidden_size)
    with onnx.quiet_exporter():
        graphs = (
            onnx.traced(lower, ids, ["last_hidden_state"]),
            onnx.traced(upper, {"states": states, "attention_mask": ids["attention_mask"]}, [output]),
        )
    graphs[0].metadata_props.add(key=DIGEST, value=digest_of_lower(model))
    onnx.save(graphs[0], lower_of(path), lower)
    onnx.save(graphs[1], path, upper)


def lower_half(model: Any) -> TrimformerModel:
    """The encoder of the lower layers, which holds the weights of the model."""
    split = model.config.split_layers
    body = model.encoder if isinstance(model, TrimformerWithHead) else model
    with torch.device("meta"):
        lower = TrimformerModel(_config(model.config, range(split)))
    lower.embeddings, lower.layers, lower.norm = body.embeddings, nn.ModuleList(body.layers[:split]), nn.Identity()
    return lower


class UpperHalf(nn.Module):
    """States (batch, n, hidden) and mask (batch, n) -> what the model gives."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        split, count = model.config.split_layers, model.config.num_hidden_layers
        with torch.device("meta"):
            upper = type(model)(_config(model.config, range(split, count)))
        ours, theirs = (one.encoder if isinstance(model, TrimformerWithHead) else one for one in (upper, model))
        ours.layers, ours.norm = nn.ModuleList(theirs.layers[split:]), theirs.norm
        if isinstance(model, TrimformerWithHead):
            upper.head = model.head
        self.encoder = ExportedEncoder(upper)
        self.encoder.add_module("embeddings", Given())

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        found: Tensor = self.encoder(states, attention_mask, attention_mask)
        return found


class Given(nn.Module):
    """States in the place of embeddings."""

    def forward(self, states: Tensor, token_type_ids: Tensor) -> Tensor:
        return states


def _config(config: TrimformerConfig, layers: range) -> TrimformerConfig:
    """The configuration of some layers alone."""
    values, groups = config.to_dict(), config.sharing
    shared = groups and [next(n for n, other in enumerate(layers) if groups[other] == groups[i]) for i in layers]
    return type(config).from_dict(
        values | {"layers": [values["layers"][index] for index in layers], "sharing": shared, "split_layers": 0}
    )
