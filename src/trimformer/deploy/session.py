"""ONNX Runtime sessions as everything here opens and runs them."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import TrimformerError

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Raise TrimformerError where a package of the ``onnx`` extra is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TrimformerError(f'ONNX needs the package {missing[0]}: pip install "trimformer[onnx]".')


def open_session(path: Path, threads: int | None = None) -> Any:
    """An ONNX Runtime session on the CPU; ``threads`` inside one operator, None = one for each core.

    Raises TrimformerError for a file that is missing or not a readable ONNX model.
    """
    require_onnx()
    import onnxruntime

    if not path.is_file():
        raise TrimformerError(f"There is no {path}: export the model first (trimformer.export).")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # Threads that go on spinning after a run would take the cores from whatever runs next in this process.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4  # what goes wrong is raised below; it need not be printed as well
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own class for each kind of damage
        raise TrimformerError(
            f"{path} is not a readable ONNX model ({type(error).__name__}), it is damaged or cut "
            "short: export it again."
        ) from error


def run_session(session: Any, inputs: dict[str, Tensor]) -> np.ndarray:
    """The output of an exported encoder, as stored: logits or last hidden state.

    inputs: int64 tensors (batch, n); ``token_type_ids`` may be left out (then all 0).
    """
    given = {"token_type_ids": torch.zeros_like(inputs["input_ids"])} | inputs
    output: np.ndarray = session.run(None, {name: given[name].numpy() for name in INPUTS})[0]
    return output


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run PyTorch with this many threads inside the block, and with as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
