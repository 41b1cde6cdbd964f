"""OpenVINO's own form (IR, an .xml with its .bin) under OpenVINO, and what else needs OpenVINO's package."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...cores import usable_cores
from ...extras import require
from .session import arrays, damaged, require_file

# Of the arithmetic; what is quantized in the file is so under any. Where the CPU has no bf16, OpenVINO takes fp32.
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16", "int4": "bf16"}
RUNTIME = "openvino"
REPORTER = "openvino_telemetry"


def compile_options(precision: str, threads: int | None) -> dict[str, Any]:
    """How OpenVINO works here; precision and threads as of :class:`OpenVinoSession`."""
    return {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # Every process would pin its threads to the same first cores.
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_NUM_THREADS": threads or usable_cores(),
    }


class OpenVinoSession:
    """An OpenVINO model on the CPU.

    precision: ``fp32``, ``bf16``, ``int8`` or ``int4``. threads: inside one operator, None = one for each usable core.
    Raises TrimformerError for a file that is missing or not readable.
    """

    def __init__(self, path: Path, precision: str = "fp32", threads: int | None = None) -> None:
        require("openvino", [RUNTIME])
        require_file(path)
        try:
            model = core().read_model(str(path))
            compiled = core().compile_model(model, "CPU", compile_options(precision, threads))
        except Exception as error:
            raise damaged(path, "OpenVINO model", error) from error
        self.output: str = compiled.output(0).any_name
        self.inputs = [given.any_name for given in compiled.inputs]
        # What the ONNX file says of itself that it was made from.
        said = model.get_rt_info(["framework"]).value if model.has_rt_info(["framework"]) else {}
        self.about = {name: str(value) for name, value in said.items()}
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()  # a request holds one call; with one stream a second would wait anyhow

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0)."""
        return self.outputs(arrays(inputs))[0]

    def outputs(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs, from all inputs by their names."""
        with self._lock:
            return list(self._request.infer(given, share_inputs=True).to_tuple())


def require_openvino() -> None:
    """Raise TrimformerError where a package is missing that writes OpenVINO's files; to run them takes one alone."""
    require("openvino", [RUNTIME, "nncf"])


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO's packages in this block: they report their use to their makers where the reporter is found."""
    before = sys.modules.get(REPORTER)
    sys.modules[REPORTER] = None  # type: ignore[assignment]  # so that importing it fails
    try:
        yield
    finally:
        if before is None:
            del sys.modules[REPORTER]
        else:
            sys.modules[REPORTER] = before


def runtime() -> Any:
    """The package, imported so that it reports nothing to its makers. Raises TrimformerError where it is missing."""
    require("openvino", [RUNTIME])
    with without_telemetry():
        import openvino
    return openvino


@functools.cache
def core() -> Any:
    """The Core of this process, never given back.

    With each Core the plugin for CPUs gives its thread another stack for signals, and with the end of the Core the one
    before. Where Cores do not end in the reverse order of their beginnings, that one may be gone, and the next signal,
    such as Ctrl-C, ends the process with a segmentation fault (seen with OpenVINO 2026.4).
    """
    found = runtime().Core()
    found.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin, before any other Core may
    return found
