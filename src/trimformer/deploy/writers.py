"""How the file of each back-end is written: traced from the model, or made from the fp32 ONNX file."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..errors import TrimformerError, explain_write_errors
from ..inference.runtimes.backends import file_backend, parts
from ..inference.runtimes.onnx import OnnxSession
from ..inference.runtimes.openvino import require_openvino
from ..saved.exits import ExitShape
from ..tasks.encoding.encoded import Encoded
from . import onnx, openvino, quantize_onnx, quantize_openvino, quantize_static, torch_export
from .halves import write_halves
from .pieces import beside, inputs_of, pieces_of
from .smooth import smoothed
from .thresholds import thresholds_in

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


def smooth_onnx_int8(source: Path, target: Path, inputs: quantize_openvino.Samples, kept: Collection[str] = ()) -> None:
    """int8 for ONNX Runtime, of the graph whose outliers are moved into weights where there are some."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        quantize_onnx.onnx_int8(smoothed(source, Path(scratch) / "smooth.onnx", inputs, kept), target, kept)


INT8: dict[str, Callable[..., None]] = {
    "onnx-int8": smooth_onnx_int8,
    "openvino-int8": quantize_openvino.openvino_int8,
}
"""These read it too and are given samples, which show outliers, and are told which maps stay as they are (``kept``)."""
CALIBRATED = ("openvino-int8",)
"""In these the samples set the ranges of the activations as well."""


def write(
    model: onnx.Model, backend: str, folder: Path, calibration: Encoded | None = None, *, quick: bool = False
) -> Path:
    """Export a model for a back-end into ``folder``, unless the file is there already; returns the file.

    Of a model with exits it is the file of its first segment, the others and config.json, which says when texts leave,
    lie beside it; of a split model that of the upper half, the lower one lies beside it. The fp32 ONNX file that others
    are made from is written there too. calibration: texts that show outliers and set the ranges of static int8
    activations; None = random tokens. quick: for files that are only timed, see :mod:`trimformer.deploy.quick`.
    Raises TrimformerError for an unknown back-end, one that cannot run a split model, a missing extra, or a folder that
    cannot be written.
    """
    wanted = file_backend(backend)
    split = model.config.split_layers > 0
    if split and wanted.runtime == "torch":
        raise TrimformerError(
            "A model whose first layers see each text of a pair by itself is written in two files, which torch.export "
            "has no form for: export it for ONNX Runtime or OpenVINO."
        )
    targets = pieces_of(folder / wanted.file, model)
    if targets[0].is_file():
        return targets[0]
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if wanted.runtime == "openvino":
            require_openvino()
        sources = [] if backend in FROM_MODEL else beside(write(model, "onnx", folder, quick=quick), model)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            files = [Path(scratch) / target.name for target in targets]
            if not sources:
                whole = partial(onnx.write_fp32, quick=True) if quick and backend == "onnx" else FROM_MODEL[backend]
                make: Callable[[onnx.Model, Path], None] = write_halves if split else whole
                make(copy.deepcopy(model).cpu().float().eval(), Path(scratch) / wanted.file)
            elif backend in INT8:
                write_int8(model, backend, sources, files, calibration)
            else:
                for source, file in zip(sources, files, strict=True):
                    FROM_ONNX[backend](source, file)
            if len(files) > 1 and not split:
                save_config(model, folder)
            for part in reversed(parts(files[0])):  # the weights first
                part.replace(folder / part.name)
    return targets[0]


def save_config(model: onnx.Model, folder: Path) -> None:
    """The model's config.json, which says what the outputs mean, and of a model with exits when texts leave.

    The thresholds of files in the folder stay; those that the model came with are of files in another one.
    """
    config = copy.deepcopy(model.config)
    if config.exits is not None:
        known = thresholds_in(folder, config.exits) or None
        config.exits = dataclasses.replace(ExitShape.read(config.exits), thresholds=known).to_dict()
    config.architectures = [type(model).__name__]  # only a saved model names its class
    config.save_pretrained(folder)


def write_int8(
    model: onnx.Model,
    backend: str,
    sources: Sequence[Path],
    targets: Sequence[Path],
    calibration: Encoded | None,
    kept: Collection[str] = (),
) -> None:
    """The int8 files of all pieces from the fp32 ONNX files; a model trained with ranges has these in them.

    kept: plain names of maps that stay as they are.
    """
    ranges = model.config.input_ranges
    inputs = _calibrating(model, sources, calibration) if ranges is None else itertools.repeat([])
    for source, target, own in zip(sources, targets, inputs, strict=False):
        if ranges is None:
            INT8[backend](source, target, own, kept=kept)
        elif file_backend(backend).runtime == "openvino":
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                graph = Path(scratch) / "static.onnx"
                quantize_static.static_int8(source, graph, ranges, kept)
                openvino.convert(graph, target)
        else:
            quantize_static.static_int8(source, target, ranges, kept)


def _calibrating(
    model: onnx.Model, sources: Sequence[Path], calibration: Encoded | None
) -> Iterator[quantize_openvino.Samples]:
    """What each piece is given, to show its outliers and to set its ranges."""
    given = quantize_openvino.samples(model.config, calibration)
    sessions = [OnnxSession(source) for source in sources] if len(sources) > 1 else []
    return inputs_of(sessions, model.config.split_layers > 0, given)
