"""torch.export: the graph and its weights as a .pt2 archive.

Reading such an archive can run code that is in it (torch.export.load falls back to pickle, and evaluates expressions),
so only archives that this process wrote itself are opened here.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..encoder import TrimformerModel, TrimformerWithHead
from ..encoder.model.exported import ExportedEncoder
from ..errors import TrimformerError
from .onnx import random_inputs
from .session import INPUTS, arrays, require_file, torch_threads

OUTPUT = "output"  # the file in the archive that names what comes out
_written: set[str] = set()  # SHA-256 of the archives that this process wrote


def write_archive(model: TrimformerModel | TrimformerWithHead, path: Path) -> None:
    """Write the .pt2 archive of an fp32 model in evaluation mode: dynamic batch and length, the inputs of ONNX."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    example = random_inputs(model.config, 2, min(16, model.config.max_tokens))
    with warnings.catch_warnings(action="ignore"):
        program = torch.export.export(
            ExportedEncoder(model),
            tuple(example[name] for name in INPUTS),
            dynamic_shapes=[{0: batch, 1: length}] * len(INPUTS),
        )
        output = "logits" if isinstance(model, TrimformerWithHead) else "last_hidden_state"
        torch.export.save(program, path, extra_files={OUTPUT: output})
    _written.add(_digest(path))


class TorchExportSession:
    """A .pt2 archive in PyTorch on the CPU; ``threads`` inside one operator, None = as PyTorch is set.

    Raises TrimformerError for a file that is missing, or that another process wrote.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        require_file(path)
        if _digest(path) not in _written:
            raise TrimformerError(
                f"{path} was not written by this process, and reading a .pt2 archive can run code that is in it: if "
                "you trust it, open it with torch.export.load; to predict here use the folder of the model."
            )
        about: dict[str, Any] = {OUTPUT: ""}
        self._program: Any = torch.export.load(path, extra_files=about).module()
        self._threads = threads
        self.output: str = about[OUTPUT]

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0)."""
        given = [torch.from_numpy(array) for array in arrays(inputs).values()]
        with torch_threads(self._threads), torch.inference_mode():
            output: np.ndarray = self._program(*given).numpy()
        return output


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
