"""The back-ends that run an exported file: what each is called, where its file lies, and how it is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import TrimformerError
from ...extras import explained
from .halves import UPPER_INPUTS, HalvesSession, lower_of
from .onnx import OnnxSession
from .openvino import OpenVinoSession
from .segments import files_of, segments_in, together
from .session import Session


def _torch_export(path: Path, threads: int | None = None) -> Session:
    with explained("The back-end torch-export"):
        from .torch_export import TorchExportSession  # the only runtime that needs PyTorch

    return TorchExportSession(path, threads)


@dataclasses.dataclass(frozen=True)
class FileBackend:
    """One way to run an exported file.

    folder, file: where a run leaves the file. runtime: the package that runs it. precision: of weights and arithmetic.
    extra: of trimformer that is needed to write it, if one is. session: opens a path with ``threads``.
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


def file_in(folder: Path, backend: str, exits: Mapping[str, Any] | None) -> Path:
    """Where a folder has the file of a back-end, the first one of a model that has these ``exits`` in config.json."""
    return files_of(folder / file_backend(backend).file, segments_in(exits))[0]


def parts(path: Path) -> list[Path]:
    """The file, those of the other segments where it is of one, of a split model's upper half that of the lower one,
    and of OpenVINO's those of the weights."""
    files = [*together(path), *([lower_of(path)] if lower_of(path).is_file() else [])]
    pairs = ([file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file] for file in files)
    return [part for pair in pairs for part in pair]


def open_backend(path: Path, backend: str, threads: int | None = None, folder: Path | None = None) -> Session:
    """Open an exported file, on the CPU; ``threads`` inside one operator, None = one for each usable core.

    A file of a segment stands for all of them. folder: whose config.json says by which rule texts leave, None = that
    in which the file lies.
    Raises TrimformerError for an unknown back-end, a missing extra, a file that is missing or not readable, and a .pt2
    archive that this process did not write.
    """
    opened = file_backend(backend).session
    if lower_of(path).is_file():
        halves: list[Any] = [opened(file, threads=threads) for file in (path, lower_of(path))]
        return HalvesSession(*halves)
    files = together(path)
    if len(files) > 1:
        from .exits import open_exits  # only models with exits need it

        return open_exits(folder or path.parent, backend, [partial(opened, file, threads=threads) for file in files])
    session: Session = opened(path, threads=threads)
    if isinstance(session, OnnxSession | OpenVinoSession) and set(session.inputs) == set(UPPER_INPUTS):
        raise TrimformerError(
            f"{path} is the upper half of a split model, and {lower_of(path).name} is not beside it: copy both files."
        )
    return session
