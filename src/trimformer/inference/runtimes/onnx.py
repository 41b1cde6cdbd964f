"""ONNX files under ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...cores import usable_cores
from ...extras import require
from .halves import is_half
from .segments import together
from .session import arrays, damaged, require_file

RUNTIME = "onnxruntime"
PACKAGES = ("onnx", "onnxscript", RUNTIME)


def require_onnx() -> None:
    """Raise TrimformerError where a package is missing that writes ONNX files; to run them takes ONNX Runtime alone."""
    require("onnx", PACKAGES)


def session_options(threads: int | None, *, spins: bool = True) -> Any:
    """How ONNX Runtime works here; ``threads`` as of :class:`OnnxSession`.

    spins: whether threads that wait for their share of an operator keep their cores busy, which starts them sooner.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    # Threads that go on spinning after a run would take the cores from whatever runs next in this process.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.log_severity_level = 4  # what goes wrong is raised; it need not be printed as well
    return options


class OnnxSession:
    """An ONNX file under ONNX Runtime on the CPU; ``threads`` inside one operator, None = one for each usable core.

    Raises TrimformerError for a file that is missing or not a readable ONNX model.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        require("onnx", [RUNTIME])
        import onnxruntime

        require_file(path)
        # Each file of a model has threads of its own, and those that spin would be in the way of the next one's.
        options = session_options(threads, spins=len(together(path)) == 1 and not is_half(path))
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise damaged(path, "ONNX model", error) from error
        self.output: str = self._session.get_outputs()[0].name
        self.inputs = [given.name for given in self._session.get_inputs()]
        self.about: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0)."""
        return self.outputs(arrays(inputs))[0]

    def outputs(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs, from all inputs by their names."""
        found: list[np.ndarray] = self._session.run(None, given)
        return found
