"""How the file of each back-end is written: traced from the model, or made from the fp32 ONNX file."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from ..errors import explain_write_errors
from ..inference.runtimes.backends import file_backend, parts
from ..inference.runtimes.openvino import require_openvino
from ..tasks.encoding.encoded import Encoded
from . import onnx, openvino, quantize_onnx, quantize_openvino, quantize_static, torch_export
from .halves import write_halves

FROM_MODEL: dict[str, Callable[[onnx.Model, Path], None]] = {
    "onnx": onnx.write_fp32,
    "torch-export": torch_export.write_archive,
}
"""These trace an fp32 model in evaluation mode."""
FROM_ONNX: dict[str, Callable[[Path, Path], None]] = {
    "openvino": openvino.convert,
    "openvino-bf16": openvino.convert,
    "openvino-int4": quantize_openvino.openvino_int4,
}
"""These read the fp32 ONNX file."""
INT8: dict[str, Callable[..., None]] = {
    "onnx-int8": quantize_onnx.onnx_int8,
    "openvino-int8": quantize_openvino.openvino_int8,
}
"""These read it too, and are told which maps stay as they are (``kept``)."""
CALIBRATED = ("openvino-int8",)
"""Those that are given samples as well, which set the ranges of the activations."""


def write(
    model: onnx.Model, backend: str, folder: Path, calibration: Encoded | None = None, *, quick: bool = False
) -> Path:
    """Export a model for a back-end into ``folder``, unless the file is there already; returns the file.

    The fp32 ONNX file that others are made from is written there too. calibration: texts that set the ranges of static
    int8 activations; None = random tokens. quick: for files that are only timed, see
    :mod:`trimformer.deploy.quick`.
    Raises TrimformerError for an unknown back-end, a missing extra, or a folder that cannot be written.
    """
    if model.config.split_layers:
        return write_halves(model, backend, folder)
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
            elif backend in INT8:
                write_int8(model, backend, source, file, calibration)
            else:
                FROM_ONNX[backend](source, file)
            for part in reversed(parts(file)):  # the weights first
                part.replace(folder / part.name)
    return target


def write_int8(
    model: onnx.Model,
    backend: str,
    source: Path,
    target: Path,
    calibration: Encoded | None,
    kept: Collection[str] = (),
) -> None:
    """An int8 file from the fp32 ONNX file of a model; one that was trained with ranges has these in it.

    kept: plain names of maps that stay as they are.
    """
    ranges = model.config.input_ranges
    if ranges is None:
        given = [quantize_openvino.samples(model.config, calibration)] if backend in CALIBRATED else []
        INT8[backend](source, target, *given, kept=kept)
    elif file_backend(backend).runtime == "openvino":
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            graph = Path(scratch) / "static.onnx"
            quantize_static.static_int8(source, graph, ranges, kept)
            openvino.convert(graph, target)
    else:
        quantize_static.static_int8(source, target, ranges, kept)
