"""Outliers of inputs moved into weights, so that int8 keeps its precision for the others.

Xiao, Lin, Seznec, Wu, Demouth and Han, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models", 2022: channel j of the inputs of a map is divided by s_j = max|X_j|^α / max|W_j|^(1 − α), and the
weights that read it are multiplied by it, which changes nothing in fp32. They fold the division into the norm before
the map. Where the norm stands behind a sum, as in BERT, what it gives also goes past the map, and the second map of a
feed-forward block reads what no norm gave; so the division is a product of its own here, and only where there are
outliers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .quantize_onnx import IntegerGraph, transposed
from .quantize_static import largest_inputs

STRENGTH = 0.5
"""α: how much of an outlier moves into the weights."""
OUTLIER = 20.0
"""Inputs have outliers where the largest value of a channel is more than so many times that of the median channel."""
TEXTS = 64
SMALLEST = 1e-5
"""In place of the largest weight of a channel that none reads."""


def smoothed(
    source: Path, target: Path, inputs: Sequence[Mapping[str, np.ndarray]], kept: Collection[str] = ()
) -> Path:
    """Write the fp32 file to ``target`` with its outliers moved into weights; where there are none it is the source.

    inputs: of the file, which show the outliers. Weights that several inputs are multiplied with, as those of layers
    that share them, stay as they are, and so do those that int8 does not round. kept: plain names of maps that stay in
    fp32.
    """
    import onnx
    from onnx import numpy_helper
    from onnx.helper import make_node

    model = onnx.load(str(source))
    graph = IntegerGraph(model.graph, unsigned=False, kept=kept)
    factors = _factors(graph, model.graph, largest_inputs(source, _some(inputs)))
    if not factors:
        return source
    nodes: list[Any] = []
    divided: dict[str, str] = {}
    for node in model.graph.node:
        if _moves(graph, node) and (x := node.input[0]) in factors:
            factor, weight = factors[x], node.input[1]
            if x not in divided:
                divided[x] = f"{x}.smooth"
                inverse = numpy_helper.from_array((1 / factor).astype(np.float32), f"{x}.smooth.by")
                model.graph.initializer.append(inverse)
                nodes.append(make_node("Mul", [x, inverse.name], [divided[x]]))
            rows = factor if transposed(node) else factor[:, None]
            scaled = (graph.values(weight) * rows).astype(np.float32)
            graph.weights[weight].CopyFrom(numpy_helper.from_array(scaled, weight))
            node.input[0] = divided[x]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(target))
    return target


def _moves(graph: IntegerGraph, node: Any) -> bool:
    """Whether it is a linear map that int8 rounds."""
    return graph.linear(node) and graph.rounds(node)


def _factors(graph: IntegerGraph, nodes: Any, largest: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By the input of maps: what each channel is divided by; of inputs with outliers alone."""
    readers: dict[str, list[Any]] = {}
    uses: dict[str, int] = {}
    for node in nodes.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
        if _moves(graph, node):
            readers.setdefault(node.input[0], []).append(node)
    found = {}
    for x, own in readers.items():
        values = largest[x]
        if values.max() <= OUTLIER * np.median(values) or any(uses[node.input[1]] > 1 for node in own):
            continue
        weights = [graph.values(node.input[1]) for node in own]
        columns = [w.T if transposed(node) else w for w, node in zip(weights, own, strict=True)]
        most = np.max([np.abs(w).max(1) for w in columns], 0).clip(SMALLEST)
        found[x] = np.where(values > 0, values**STRENGTH / most ** (1 - STRENGTH), 1.0)
    return found


def _some(inputs: Sequence[Mapping[str, np.ndarray]]) -> list[Mapping[str, np.ndarray]]:
    places: Any = np.linspace(0, len(inputs) - 1, min(TEXTS, len(inputs))).astype(int)
    return [inputs[place] for place in places]
