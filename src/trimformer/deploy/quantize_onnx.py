"""int8 for ONNX Runtime, with a scale for each token.

The runtime's own dynamic quantizer finds one range for all inputs of a product, so that a text's answer depends on what
else is in its batch, its padding included, and one outlier takes the precision of all tokens. Here each row of the
input is divided by its largest value first; a row is a token, or a text where a layer gives one vector for a text. The
products are the same integer kernels. Weights have a scale for each output unit, the word table one for each word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware import int8_saturates

LARGEST = 127
UNSIGNED = 128
"""What is 0 where int8 values are stored as uint8."""
SMALLEST = np.float32(1e-30)
"""In place of the largest value of a row that is all 0."""
WORD_TABLE = "embeddings.word.weight"
EXITS = "exits."
"""What the names of the weights of exits begin with. These maps are small, and where a text has one answer they read
one vector of it: to round that takes longer than integers save."""
DOMAIN = "com.microsoft"


def onnx_int8(source: Path, target: Path, kept: Collection[str] = ()) -> None:
    """Linear maps and the word table in int8; everything else stays fp32, exits, and what is kept by its plain name.

    Signed weights use the fast kernels of CPUs with VNNI. On a processor whose sums of signed products overflow the
    weights are unsigned: a sixth slower there than 7 bits, with half of their error.
    """
    import onnx

    model = rewritten(source, lambda graph, unsigned: _TokenGraph(graph, unsigned, kept))
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    onnx.save(model, str(target))


def maps_of(source: Path) -> list[str]:
    """The plain names of what an int8 file has in integers, the word table and the linear maps, in their order."""
    import onnx

    model = onnx.load(str(source))
    graph = IntegerGraph(model.graph, unsigned=False)
    found = [weight for node in model.graph.node if (weight := graph.weight_of(node)) is not None]
    return list(dict.fromkeys(plain_name(weight) for weight in found))


def plain_name(weight: str) -> str:
    """What a map is called in messages and settings, from the name of its weight in a file: ``layers.0.ffn_out``."""
    return weight.removesuffix(".weight").replace(".layer.", ".")


def rewritten(source: Path, graph_of: Callable[[Any, bool], IntegerGraph]) -> Any:
    """The model of an fp32 file with other nodes in the place of linear maps and the word table.

    graph_of: from the fp32 graph, and whether weights have to be unsigned here.
    """
    import onnx

    model = onnx.load(str(source))
    graph = graph_of(model.graph, int8_saturates())
    nodes = [made for node in model.graph.node for made in graph.quantized(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    stay = [weight for weight in (*model.graph.initializer, *graph.made.values()) if weight.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(stay)
    return model


class IntegerGraph:
    """The nodes that stand for those of a graph in int8, and the weights that they read.

    kept: plain names of maps that stay as they are.
    """

    def __init__(self, graph: Any, unsigned: bool, kept: Collection[str] = ()) -> None:
        self.unsigned, self.kept = unsigned, kept
        self.weights = {weight.name: weight for weight in graph.initializer}
        self.made: dict[str, Any] = {}

    def quantized(self, node: Any) -> Iterator[Any]:
        """The node itself, or what stands for it."""
        if not self.rounds(node):
            yield node
        elif node.op_type == "Gather":
            yield from self._looked_up(node)
        else:
            yield from self.product(node)

    def rounds(self, node: Any) -> bool:
        """Whether the weight of a node becomes integers."""
        weight = self.weight_of(node)
        return weight is not None and plain_name(weight) not in self.kept

    def weight_of(self, node: Any) -> str | None:
        """The name of the weight of a linear map or of the look-up of a word; None for all other nodes."""
        if node.op_type == "Gather" and node.input[0] == WORD_TABLE:
            return WORD_TABLE
        return str(node.input[1]) if self.linear(node) and not node.input[1].startswith(EXITS) else None

    def linear(self, node: Any) -> bool:
        """Whether it is the product of a plain matrix of weights and something else.

        Stacks of matrices, such as DeBERTa's position keys of all heads, have no scales by unit in the runtime.
        """
        if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in self.weights:
            return False
        plain = all(
            _attribute(node, name, default) == default
            for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0))
        )
        return plain and len(self.weights[node.input[1]].dims) == 2

    def product(self, node: Any) -> Iterator[Any]:
        """What stands for a linear map."""
        raise NotImplementedError

    def matrix(self, node: Any) -> dict[str, str]:
        """The names of a map's matrix (inputs, units) in integers, of the scales of its units, and of what is 0."""
        weight = node.input[1]
        kind = "columns.transposed" if transposed(node) else "columns"
        names = {part: f"{weight}.{kind}.{part}" for part in ("int8", "scale", "zero")}
        if names["int8"] not in self.made:
            values = self.values(weight)
            integers, scale = rounded(values.T if transposed(node) else values, axis=0)
            zero = np.full(len(scale), UNSIGNED if self.unsigned else 0)
            kept = np.uint8 if self.unsigned else np.int8
            self.constant(names["int8"], (integers + zero).astype(kept))
            self.constant(names["scale"], scale)
            self.constant(names["zero"], zero.astype(kept))
        return names

    def _looked_up(self, node: Any) -> Iterator[Any]:
        """Words in integers times their scales."""
        from onnx import TensorProto
        from onnx.helper import make_node

        table, ids = node.input
        (out,) = node.output
        integers, scale = rounded(self.values(table), axis=1)
        words = self.constant(f"{table}.rows.int8", integers.astype(np.int8))
        scales = self.constant(f"{table}.rows.scale", scale[:, None])
        yield make_node("Gather", [words, ids], [f"{out}.int8"], axis=0)
        yield make_node("Gather", [scales, ids], [f"{out}.scale"], axis=0)
        yield make_node("Cast", [f"{out}.int8"], [f"{out}.float"], to=TensorProto.FLOAT)
        yield make_node("Mul", [f"{out}.float", f"{out}.scale"], [out])

    def values(self, weight: str) -> np.ndarray:
        from onnx import numpy_helper

        values: np.ndarray = numpy_helper.to_array(self.weights[weight])
        return values

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        if name not in self.made:
            self.made[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name


class _TokenGraph(IntegerGraph):
    """Products of integers, with a scale for each row of the input."""

    def __init__(self, graph: Any, unsigned: bool, kept: Collection[str]) -> None:
        super().__init__(graph, unsigned, kept)
        self.rows: dict[str, str] = {}  # by the input: what its integers and its scales are called

    def product(self, node: Any) -> Iterator[Any]:
        from onnx.helper import make_node

        x, _, *bias = node.input
        (out,) = node.output
        if x not in self.rows:
            yield from self._by_row(x, prefix=f"{out}.input")
        integers, largest = f"{self.rows[x]}.int8", f"{self.rows[x]}.largest"
        names = self.matrix(node)
        step = self.constant("int8.step", np.float32(1 / LARGEST))
        zero = self.constant("int8.zero", np.uint8(UNSIGNED))
        product, scaled = f"{out}.product", f"{out}.scaled" if bias else out
        yield make_node(
            "MatMulIntegerToFloat",
            [integers, names["int8"], step, names["scale"], zero, names["zero"]],
            [product],
            domain=DOMAIN,
        )
        yield make_node("Mul", [product, largest], [scaled])
        if bias:
            yield make_node("Add", [scaled, bias[0]], [out])

    def _by_row(self, x: str, prefix: str) -> Iterator[Any]:
        """Integers of each row of an input, divided by its largest value, and these values."""
        from onnx.helper import make_node

        self.rows[x] = prefix
        axis = self.constant("int8.axis", np.array([-1]))
        smallest = self.constant("int8.smallest", SMALLEST)
        step = self.constant("int8.step", np.float32(1 / LARGEST))
        zero = self.constant("int8.zero", np.uint8(UNSIGNED))
        yield make_node("Abs", [x], [f"{prefix}.abs"])
        yield make_node("ReduceMax", [f"{prefix}.abs", axis], [f"{prefix}.max"], keepdims=1)
        yield make_node("Max", [f"{prefix}.max", smallest], [f"{prefix}.largest"])
        yield make_node("Div", [x, f"{prefix}.largest"], [f"{prefix}.share"])
        yield make_node("QuantizeLinear", [f"{prefix}.share", step, zero], [f"{prefix}.int8"])


def rounded(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers from -127 to 127 of a matrix, and the scales; one for all values along the axis."""
    largest = np.abs(values).max(axis, keepdims=True)
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.rint(values / scale), scale.squeeze(axis)


def transposed(node: Any) -> bool:
    """Whether the matrix of a map is (units, inputs) and not (inputs, units)."""
    return _attribute(node, "transB", 0) == 1


def _attribute(node: Any, name: str, default: float) -> Any:
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(given) for given in node.attribute if given.name == name), default)
