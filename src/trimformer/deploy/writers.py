"""How the file of each back-end is written: traced from the model, or made from the fp32 ONNX file."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import explain_write_errors
from ..inference.runtimes.backends import file_backend, parts
from ..inference.runtimes.openvino import require_openvino
from ..tasks.encoding.encoded import Encoded
from . import onnx, openvino, quantize_onnx, quantize_openvino, torch_export

FROM_MODEL: dict[str, Callable[[onnx.Model, Path], None]] = {
    "onnx": onnx.write_fp32,
    "torch-export": torch_export.write_archive,
}
"""These trace an fp32 model in evaluation mode."""
FROM_ONNX: dict[str, Callable[[Path, Path], None]] = {
    "onnx-int8": quantize_onnx.onnx_int8,
    "openvino": openvino.convert,
    "openvino-bf16": openvino.convert,
    "openvino-int4": quantize_openvino.openvino_int4,
}
"""These read the fp32 ONNX file."""
CALIBRATED: dict[str, Callable[[Path, Path, quantize_openvino.Samples], None]] = {
    "openvino-int8": quantize_openvino.openvino_int8
}
"""These read it too, and samples that set the ranges of the activations."""


def write(
    model: onnx.Model, backend: str, folder: Path, calibration: Encoded | None = None, *, quick: bool = False
) -> Path:
    """Export a model for a back-end into ``folder``, unless the file is there already; returns the file.

    The fp32 ONNX file that others are made from is written there too. calibration: texts that set the ranges of static
    int8 activations; None = random tokens. quick: for files that are only timed, see
    :mod:`trimformer.deploy.quick`.
    Raises TrimformerError for an unknown back-end, a missing extra, or a folder that cannot be written.
    """
    wanted = file_backend(backend)
    target = folder / wanted.file
    if target.is_file():
        return target
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if wanted.runtime == "openvino":
            require_openvino()
        source = None if backend in FROM_MODEL else write(model, "onnx", folder, quick=quick)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            file = Path(scratch) / target.name
            if source is None:
                make = partial(onnx.write_fp32, quick=True) if quick and backend == "onnx" else FROM_MODEL[backend]
                make(copy.deepcopy(model).cpu().float().eval(), file)
            elif backend in CALIBRATED:
                CALIBRATED[backend](source, file, quantize_openvino.samples(model.config, calibration))
            else:
                FROM_ONNX[backend](source, file)
            for part in reversed(parts(file)):  # the weights first
                part.replace(folder / part.name)
    return target
