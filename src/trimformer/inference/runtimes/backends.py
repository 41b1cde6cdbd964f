"""The back-ends that run an exported file: what each is called, where its file lies, and how it is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...errors import TrimformerError
from .halves import UPPER_INPUTS, HalvesSession, lower_of
from .onnx import OnnxSession
from .openvino import OpenVinoSession
from .session import Session


def _torch_export(path: Path, threads: int | None = None) -> Session:
    from .torch_export import TorchExportSession  # the only runtime that needs PyTorch

    return TorchExportSession(path, threads)


@dataclasses.dataclass(frozen=True)
class FileBackend:
    """One way to run an exported file.

    folder, file: where a run leaves the file. runtime: the package that runs it. precision: of weights and arithmetic.
    extra: of trimformer that is needed, if one is. session: opens a path with ``threads``.
    """

    folder: str
    file: str
    runtime: str
    precision: str
    extra: str | None
    session: Callable[..., Session]


def _onnx(file: str, precision: str) -> FileBackend:
    return FileBackend("onnx", file, "onnxruntime", precision, "onnx", OnnxSession)


def _openvino(file: str, precision: str) -> FileBackend:
    session = partial(OpenVinoSession, precision=precision)
    return FileBackend("openvino", file, "openvino", precision, "openvino", session)


FILE_BACKENDS: dict[str, FileBackend] = {
    "onnx": _onnx("model.onnx", "fp32"),
    "onnx-int8": _onnx("model.int8.onnx", "int8"),
    "openvino": _openvino("model.xml", "fp32"),
    "openvino-bf16": _openvino("model.xml", "bf16"),
    "openvino-int8": _openvino("model.int8.xml", "int8"),
    "openvino-int4": _openvino("model.int4.xml", "int4"),
    "torch-export": FileBackend("torch", "model.pt2", "torch", "fp32", None, _torch_export),
}


def file_backend(name: str) -> FileBackend:
    """Raises TrimformerError for a name that is not one of ``FILE_BACKENDS``."""
    if name not in FILE_BACKENDS:
        raise TrimformerError(f"Unknown file back-end {name!r}: use one of {', '.join(FILE_BACKENDS)}.")
    return FILE_BACKENDS[name]


def parts(path: Path) -> list[Path]:
    """The file and, of OpenVINO's, that of its weights; of a split model's upper half, that of the lower one."""
    if path.suffix == ".xml":
        return [path, path.with_suffix(".bin")]
    return [path, lower_of(path)] if lower_of(path).is_file() else [path]


def open_backend(path: Path, backend: str, threads: int | None = None) -> Session:
    """Open an exported file, on the CPU; ``threads`` inside one operator, None = one for each usable core.

    Raises TrimformerError for an unknown back-end, a missing extra, a file that is missing or not readable, and a .pt2
    archive that this process did not write.
    """
    found = file_backend(backend)
    if lower_of(path).is_file():
        return HalvesSession(path, threads)
    session = found.session(path, threads=threads)
    if isinstance(session, OnnxSession) and set(session.inputs) == set(UPPER_INPUTS):
        raise TrimformerError(
            f"{path} is the upper half of a split model, and {lower_of(path).name} is not beside it: copy both files."
        )
    return session
