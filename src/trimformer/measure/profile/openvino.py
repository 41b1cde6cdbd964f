"""The time of each operator under OpenVINO, by its own counters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from ...inference.runtimes.backends import FILE_BACKENDS
from ...inference.runtimes.openvino import compile_options, core
from ...inference.runtimes.session import arrays
from .clocks import Pass, by_component
from .graph import Known, Operator, components

ORIGINS = "originalLayersNames"
"""Where the runtime notes which layers of the file an operator stands for."""


class OpenVinoClock:
    """A file under OpenVINO with its counters on."""

    def __init__(self, path: Path, backend: str, threads: int, known: Callable[[], Known]) -> None:
        options = compile_options(FILE_BACKENDS[backend].precision, threads) | {"PERF_COUNT": True}
        self.compiled = core().compile_model(str(path), "CPU", options)
        self.request = self.compiled.create_infer_request()
        self.known = known
        self.times: list[dict[str, float]] = []

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        output: np.ndarray = self.request.infer(arrays(inputs), share_inputs=True)[0]
        counted = ((one.node_name, one.real_time.total_seconds() * 1e3) for one in self.request.get_profiling_info())
        self.times.append({name: ms for name, ms in counted if ms})
        return output

    def passes(self) -> list[Pass]:
        operators = {}
        for operator in self.compiled.get_runtime_model().get_ordered_ops():
            info = operator.get_rt_info()
            origins = info[ORIGINS].astype(str).split(",") if ORIGINS in info else []
            readers = [
                reader.get_node().get_friendly_name()
                for output in operator.outputs()
                for reader in output.get_target_inputs()
            ]
            operators[operator.get_friendly_name()] = Operator(origins, readers)
        found, fused = components(operators, self.known())
        return [by_component(own, found, fused) for own in self.times]
