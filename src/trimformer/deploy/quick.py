"""ONNX graphs for files that are timed and thrown away, by torch's older exporter, which takes a tenth of the time.

That exporter asks for sizes anew wherever a module does, and computes with them at each pass. Here sizes that cannot
change are numbers, and batch and length are asked for once, so that a runtime is left with as many operators as of the
graph that users get, but for a handful in a whole model.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..inference.runtimes.segments import TEXT_MASK

SHAPE: Any = torch.Tensor.shape


def quickly_traced(
    encoder: nn.Module, inputs: Callable[[int, int], dict[str, Tensor]], outputs: Sequence[str], opset: int
) -> Any:
    """The ONNX graph with batch and length left open. inputs: batch, n -> the inputs (batch, n, …) by their names."""
    import onnx

    batch, length = _unlike(size for weight in encoder.parameters() for size in weight.shape)
    example = inputs(batch, length)
    axes = {name: open_axes(name, given) for name, given in example.items()}
    file: Any = io.BytesIO()
    with _Sizes(batch, length):
        torch.onnx.export(
            encoder,
            tuple(example.values()),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes=axes,
        )
    proto = onnx.load_model_from_string(file.getvalue())
    known = {given.name for given in proto.graph.input}  # this exporter leaves out what nothing is computed from
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "length"])
        for name in example
        if name not in known
    )
    return proto


def open_axes(name: str, given: Tensor) -> dict[int, str]:
    """What is left open of an input (batch, n, …); a second axis of 1 is that of states of the first token alone.

    Whole texts may be longer than what is left of them.
    """
    second = "text" if name == TEXT_MASK else "length"
    return {0: "batch", 1: second} if given.shape[1] > 1 else {0: "batch"}


def _unlike(sizes: Iterable[int]) -> list[int]:
    """A batch and a length that divide no size of the weights: a size that one of them divides is not fixed."""
    fixed = set(sizes)
    return [prime for prime in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31) if all(size % prime for size in fixed)][:2]


class _Sizes(TorchFunctionMode):
    """While a graph is traced: fixed sizes are numbers, batch and length one value each."""

    def __init__(self, batch: int, length: int) -> None:
        super().__init__()
        self.open = batch, length
        self.values: dict[int, Any] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return tuple(map(self._size, found)) if func == SHAPE.__get__ else found

    def _size(self, size: Any) -> Any:
        number = int(size)
        if number in self.open:
            return self.values.setdefault(number, size)
        return number if all(number % part for part in self.open) else size
