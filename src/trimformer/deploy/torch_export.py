"""torch.export: the graph and its weights as a .pt2 archive."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch._dynamo.exc import UserError

from ..deploy.onnx import Model
from ..encoder import TrimformerWithHead
from ..encoder.model.exported import ExportedEncoder
from ..errors import TrimformerError
from ..inference.runtimes.session import INPUTS
from ..inference.runtimes.torch_export import trust
from .onnx import random_inputs

OUTPUT = "output"  # the file in the archive that names what comes out
_written: set[str] = set()  # SHA-256 of the archives that this process wrote


def write_archive(model: Model, path: Path) -> None:
    """Write the .pt2 archive of an fp32 model in evaluation mode: dynamic batch and length, the inputs of ONNX.

    Raises TrimformerError where batch and length cannot be left open, and for a model with exits.
    """
    if getattr(model, "exits", None):
        raise TrimformerError(
            "An archive of torch.export holds one graph, which every text goes through: export this model, whose texts "
            "leave early, to onnx or openvino."
        )
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    example = random_inputs(model.config, 2, min(16, model.config.max_tokens))
    with warnings.catch_warnings(action="ignore"):
        try:
            program = torch.export.export(
                ExportedEncoder(model),
                tuple(example[name] for name in INPUTS),
                dynamic_shapes=[{0: batch, 1: length}] * len(INPUTS),
            )
        except UserError as error:
            raise TrimformerError(
                "torch.export cannot leave batch and length of this encoder open, as of one with LSTMs: export it to "
                "onnx or openvino."
            ) from error
        output = "logits" if isinstance(model, TrimformerWithHead) else "last_hidden_state"
        torch.export.save(program, path, extra_files={OUTPUT: output})
    trust(path)
