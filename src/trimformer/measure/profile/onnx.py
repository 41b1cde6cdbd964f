"""The time of each operator under ONNX Runtime, by its own profiler."""

from __future__ import annotations

import collections
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...inference.runtimes.onnx import session_options
from ...inference.runtimes.session import arrays
from .clocks import Pass, by_component
from .graph import Known, Operator, components

NODE, WHOLE = "_kernel_time", "model_run"
"""How the profiler calls the time of a node, after its name, and that of a pass."""


class OnnxClock:
    """A file under ONNX Runtime with its profiler on.

    The runtime rearranges the graph first. What it makes of it is written to a file whose nodes all get names, and this
    one is run as it is.
    """

    def __init__(self, path: Path, backend: str, threads: int, known: Callable[[], Known]) -> None:
        import onnx
        import onnxruntime

        self.folder = tempfile.TemporaryDirectory()
        file, log = Path(self.folder.name, "optimised.onnx"), Path(self.folder.name, "log")
        options = session_options(threads)
        options.optimized_model_filepath = str(file)
        providers = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(str(path), options, providers=providers)
        graph = onnx.load(str(file))
        self.operators = _named(graph.graph)
        onnx.save(graph, str(file))
        options = session_options(threads)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling, options.profile_file_prefix = True, str(log)
        self.session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        self.known = known

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        output: np.ndarray = self.session.run(None, arrays(inputs))[0]
        return output

    def passes(self) -> list[Pass]:
        log = Path(self.session.end_profiling())
        events = sorted(json.loads(log.read_text(encoding="utf-8")), key=lambda event: event["ts"])
        self.folder.cleanup()
        found, fused = components(self.operators, self.known())
        runs = [(event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == WHOLE]
        times: list[collections.Counter[str]] = [collections.Counter() for _ in runs]
        at = 0
        for event in events:
            if not event["name"].endswith(NODE):
                continue
            while at < len(runs) - 1 and event["ts"] > runs[at][1]:
                at += 1
            times[at][event["name"].removesuffix(NODE)] += event["dur"] / 1e3
        return [by_component(own, found, fused) for own in times]


def _named(graph: Any) -> dict[str, Operator]:
    """The nodes of a graph, which get names where they have none or not one of their own."""
    nodes = list(graph.node)
    # Vectors say nothing: those that are equal, such as biases of 0, become one.
    matrices = {weight.name for weight in graph.initializer if len(weight.dims) > 1}
    readers: dict[str, list[str]] = {}
    for index, node in enumerate(nodes):
        node.name = f"{index} {node.op_type}"
        for value in node.input:
            readers.setdefault(value, []).append(node.name)
    return {
        node.name: Operator(
            [*node.output, *(value for value in node.input if value in matrices)],
            [reader for value in node.output for reader in readers.get(value, [])],
        )
        for node in nodes
    }
