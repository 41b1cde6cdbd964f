"""The back-ends that run an exported file: what each is called, where its file lies, how it is written and opened."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from pathlib import Path

from ..encoder import TrimformerModel, TrimformerWithHead
from ..errors import TrimformerError, explain_write_errors
from ..tasks.encoding.encoded import Encoded
from . import onnx, openvino, quantize, torch_export
from .session import Session


@dataclasses.dataclass(frozen=True)
class FileBackend:
    """One way to run an exported file.

    folder, file: where a run leaves the file. runtime: the package that runs it. precision: of weights and arithmetic.
    extra: of trimformer that is needed, if one is. calibrated: sample texts set the ranges of its activations.
    """

    folder: str
    file: str
    runtime: str
    precision: str
    extra: str | None
    calibrated: bool = False


FILE_BACKENDS: dict[str, FileBackend] = {
    "onnx": FileBackend("onnx", "model.onnx", "onnxruntime", "fp32", "onnx"),
    "onnx-int8": FileBackend("onnx", "model.int8.onnx", "onnxruntime", "int8", "onnx"),
    "openvino": FileBackend("openvino", "model.xml", "openvino", "fp32", "openvino"),
    "openvino-bf16": FileBackend("openvino", "model.xml", "openvino", "bf16", "openvino"),
    "openvino-int8": FileBackend("openvino", "model.int8.xml", "openvino", "int8", "openvino", True),
    "openvino-int4": FileBackend("openvino", "model.int4.xml", "openvino", "int4", "openvino"),
    "torch-export": FileBackend("torch", "model.pt2", "torch", "fp32", None),
}


def file_backend(name: str) -> FileBackend:
    """Raises TrimformerError for a name that is not one of ``FILE_BACKENDS``."""
    if name not in FILE_BACKENDS:
        raise TrimformerError(f"Unknown file back-end {name!r}: use one of {', '.join(FILE_BACKENDS)}.")
    return FILE_BACKENDS[name]


def parts(path: Path) -> list[Path]:
    """The file and, of OpenVINO's, that of its weights."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def write(
    model: TrimformerModel | TrimformerWithHead, backend: str, folder: Path, calibration: Encoded | None = None
) -> Path:
    """Export a model for a back-end into ``folder``, unless the file is there already; returns the file.

    The fp32 ONNX file that others are made from is written there too. calibration: texts that set the ranges of static
    int8 activations; None = random tokens.
    Raises TrimformerError for an unknown back-end, a missing extra, or a folder that cannot be written.
    """
    wanted = file_backend(backend)
    target = folder / wanted.file
    if target.is_file():
        return target
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if wanted.runtime == "openvino":
            openvino.require_openvino()
        source = None if backend in ("onnx", "torch-export") else write(model, "onnx", folder)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            file = Path(scratch) / target.name
            if source is None:
                plain = copy.deepcopy(model).cpu().float().eval()
                (onnx.write_fp32 if backend == "onnx" else torch_export.write_archive)(plain, file)
            elif backend == "onnx-int8":
                quantize.onnx_int8(source, file)
            elif backend == "openvino-int8":
                quantize.openvino_int8(source, file, quantize.samples(model.config, calibration))
            elif backend == "openvino-int4":
                quantize.openvino_int4(source, file)
            else:
                openvino.save(openvino.read(source), file)
            for part in reversed(parts(file)):  # the weights first
                part.replace(folder / part.name)
    return target


def open_backend(path: Path, backend: str, threads: int | None = None) -> Session:
    """Open an exported file, on the CPU; ``threads`` inside one operator, None = one for each core.

    Raises TrimformerError for an unknown back-end, a missing extra, a file that is missing or not readable, and a .pt2
    archive that this process did not write.
    """
    wanted = file_backend(backend)
    if wanted.runtime == "onnxruntime":
        return onnx.OnnxSession(path, threads)
    if wanted.runtime == "torch":
        return torch_export.TorchExportSession(path, threads)
    return openvino.OpenVinoSession(path, wanted.precision, threads)
