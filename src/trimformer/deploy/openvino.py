"""OpenVINO: the ONNX graph in OpenVINO's own form (IR, an .xml with its .bin).

The graph is read from the ONNX file and not traced a second time: the operators come out the same, in less time, and
what is tested of the one holds for the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..inference.runtimes.openvino import core, runtime


def read(source: Path) -> Any:
    """An ONNX or OpenVINO file as a model of OpenVINO."""
    return core().read_model(str(source))


def save(model: Any, target: Path) -> None:
    """Write a model, weights in the precision that they have."""
    runtime().save_model(model, str(target), compress_to_fp16=False)


def convert(source: Path, target: Path) -> None:
    """An ONNX file as an OpenVINO file of the same precision."""
    save(read(source), target)
