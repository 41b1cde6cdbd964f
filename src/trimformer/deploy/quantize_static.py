"""Static int8 as a QDQ graph: one range for the inputs of each linear map, known beforehand.

Inputs and weights are rounded by QuantizeLinear and DequantizeLinear around an ordinary product, the form in which both
ONNX Runtime and OpenVINO recognise a product of integers. Weights have a scale for each output unit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .quantize_onnx import LARGEST, UNSIGNED, IntegerGraph, plain_name, rewritten


def static_int8(source: Path, target: Path, ranges: Mapping[str, float], kept: Collection[str] = ()) -> None:
    """Linear maps that have a range, and the word table, in int8; everything else stays fp32.

    ranges: the largest absolute input by the plain name of a map. kept: plain names of maps that stay fp32, too.
    """
    import onnx

    model = rewritten(source, lambda graph, unsigned: _StaticGraph(graph, unsigned, kept, ranges))
    onnx.save(model, str(target))


def input_ranges(source: Path, inputs: Iterable[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """The largest absolute input of each linear map of an fp32 file, over all inputs, by its plain name."""
    import onnx

    model = onnx.load(str(source))
    graph = IntegerGraph(model.graph, unsigned=False)
    largest = largest_inputs(source, inputs)
    return {
        plain_name(node.input[1]): float(largest[node.input[0]].max())
        for node in model.graph.node
        if graph.linear(node)
    }


def largest_inputs(source: Path, inputs: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What the linear maps of an fp32 file read, by its name in the graph: the largest absolute value of each channel,
    over all inputs."""
    import onnx
    import onnxruntime

    model = onnx.load(str(source))
    graph = IntegerGraph(model.graph, unsigned=False)
    names = sorted({node.input[0] for node in model.graph.node if graph.linear(node)})
    if not names:
        return {}
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "inputs.onnx"
        onnx.save(model, str(file))
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    known = {given.name for given in session.get_inputs()}
    largest: dict[str, Any] = dict.fromkeys(names, 0.0)
    for sample in inputs:
        found = session.run(names, {name: value for name, value in sample.items() if name in known})
        for name, x in zip(names, found, strict=True):
            largest[name] = np.maximum(largest[name], np.abs(x).reshape(-1, x.shape[-1]).max(0))
    return largest


class _StaticGraph(IntegerGraph):
    """Products between rounded inputs and rounded weights."""

    def __init__(self, graph: Any, unsigned: bool, kept: Collection[str], ranges: Mapping[str, float]) -> None:
        super().__init__(graph, unsigned, kept)
        self.ranges = ranges
        self.rounded: dict[tuple[str, float], str] = {}  # maps with the same input and range read it rounded once

    def linear(self, node: Any) -> bool:
        return super().linear(node) and self.ranges.get(plain_name(node.input[1]), 0.0) > 0

    def product(self, node: Any) -> Iterator[Any]:
        from onnx.helper import make_node

        x, weight, *bias = node.input
        (out,) = node.output
        names, given = self.matrix(node), (x, self.ranges[plain_name(weight)])
        if given not in self.rounded:
            self.rounded[given] = f"{out}.input.rounded"
            step = self.constant(f"{out}.input.step", np.float32(given[1] / LARGEST))
            zero = self.constant("int8.zero", np.uint8(UNSIGNED))
            yield make_node("QuantizeLinear", [x, step, zero], [f"{out}.input.int8"])
            yield make_node("DequantizeLinear", [f"{out}.input.int8", step, zero], [self.rounded[given]])
        product = f"{out}.product" if bias else out
        columns = [names["int8"], names["scale"], names["zero"]]
        yield make_node("DequantizeLinear", columns, [f"{out}.weight"], axis=1)
        yield make_node("MatMul", [self.rounded[given], f"{out}.weight"], [product])
        if (
            bias
        ):  # ONNX Runtime makes one product in floating point of a product and a sum, before it looks for integers
            less = self.constant(f"{out}.less", -self.values(bias[0]))
            yield make_node("Sub", [product, less], [out])
