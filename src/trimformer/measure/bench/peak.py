"""The physical limit: the best rate of matrix products that any library at hand reaches on this machine."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional

from ...console import Ticker
from ...deploy.openvino import core, runtime
from ...deploy.session import torch_threads
from ...hardware import has_native_bf16
from ...training.evaluate import fastest_device

SIZES = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    *((n, *weight) for n in (1024, 2048) for weight in ((768, 768), (768, 3072), (3072, 768))),
)
"""(rows, inputs, outputs): squares, and the products of BERT-base for 1024 and 2048 tokens."""
SECONDS = 0.15
SLOW = 1.0
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
OPSET = 20

Product = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Peak:
    """flops_per_s: 2 · rows · inputs · outputs over the shortest time, for int8 too. library, size: where it was."""

    precision: str
    flops_per_s: float
    library: str
    size: tuple[int, int, int]


def matrix_peaks(threads: int) -> list[Peak]:
    """The best of PyTorch, ONNX Runtime and OpenVINO, as far as they are installed, for each precision.

    The weights are constants, as they are in a model, so a library may rearrange them beforehand. The shortest of many
    passes counts, because this is a limit. bf16 is left out where the processor has no instructions for it.
    """
    found: list[Peak] = []
    with torch_threads(threads), torch.inference_mode(), Ticker("Measuring the limit", len(SIZES)) as tick:
        for size in SIZES:
            for precision, library, product in _products(*size, threads):
                rate = 2 * np.prod(size, dtype=float) / _shortest(product)
                found.append(Peak(precision, float(rate), library, size))
            tick.advance()
    return best(found)


def best(*measured: Sequence[Peak]) -> list[Peak]:
    """The highest of each precision."""
    every = list(itertools.chain(*measured))
    of_each = ([peak for peak in every if peak.precision == precision] for precision in PRECISIONS)
    return [max(peaks, key=lambda peak: peak.flops_per_s) for peaks in of_each if peaks]


def _shortest(product: Product) -> float:
    """Seconds; at least three passes, unless this is one of the slow ways that a library falls back to."""
    product()
    times: list[float] = []
    while sum(times) < SECONDS or (len(times) < 3 and sum(times) < SLOW):
        before = time.perf_counter()
        product()
        times.append(time.perf_counter() - before)
    return min(times)


def _products(rows: int, inputs: int, outputs: int, threads: int) -> Iterator[tuple[str, str, Product]]:
    random = np.random.default_rng(0)
    x, w = random.standard_normal((rows, inputs), np.float32), random.standard_normal((outputs, inputs), np.float32)
    x8, w8 = random.integers(0, 127, (rows, inputs), np.uint8), random.integers(-127, 127, (outputs, inputs), np.int8)
    libraries = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}
    for name, products in libraries.items():
        if importlib.util.find_spec(name) is not None:
            for precision, product in products(x, w, x8, w8, threads):
                yield precision, name, product


def _torch(x: np.ndarray, w: np.ndarray, x8: np.ndarray, w8: np.ndarray, threads: int) -> Iterator[tuple[str, Product]]:
    device = fastest_device().type

    def wait(product: Callable[[], torch.Tensor]) -> Product:
        def run() -> None:
            product()
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    a, b = torch.from_numpy(x).to(device), torch.from_numpy(w).to(device)
    yield "fp32", wait(lambda: functional.linear(a, b))
    if has_native_bf16():
        a16, b16 = a.bfloat16(), b.bfloat16()
        yield "bf16", wait(lambda: functional.linear(a16, b16))
    if device == "cuda":
        half_a, half_b = a.half(), b.half()
        yield "fp16", wait(lambda: functional.linear(half_a, half_b))
    a8, b8 = torch.from_numpy(x8.astype(np.int8)).to(device), torch.from_numpy(w8).to(device)
    yield "int8", wait(lambda: torch._int_mm(a8, b8.t()))


def _onnxruntime(
    x: np.ndarray, w: np.ndarray, x8: np.ndarray, w8: np.ndarray, threads: int
) -> Iterator[tuple[str, Product]]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    ways = (
        ("fp32", "MatMul", x, w, TensorProto.FLOAT, TensorProto.FLOAT),
        ("int8", "MatMulInteger", x8, w8, TensorProto.UINT8, TensorProto.INT32),
    )
    for precision, operator, a, b, kind, result in ways:
        graph = helper.make_graph(
            [helper.make_node(operator, ["a", "b"], ["y"])],
            operator,
            [helper.make_tensor_value_info("a", kind, a.shape)],
            [helper.make_tensor_value_info("y", result, None)],
            [numpy_helper.from_array(np.ascontiguousarray(b.T), "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        yield precision, functools.partial(session.run, None, {"a": a})


def _openvino(
    x: np.ndarray, w: np.ndarray, x8: np.ndarray, w8: np.ndarray, threads: int
) -> Iterator[tuple[str, Product]]:
    """int8 as its quantized models have it: a FakeQuantize of the activations, scaled int8 weights."""
    openvino = runtime()
    ops = openvino.opset13

    rows, inputs = x.shape

    def compiled(precision: str, parameter: object, left: object, right: object, given: np.ndarray) -> Product:
        model = openvino.Model([ops.matmul(left, right, False, True)], [parameter])
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        request = core().compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(given))
        return request.infer

    for precision, name in (("fp32", "f32"), *((("bf16", "bf16"),) if has_native_bf16() else ())):
        parameter = ops.parameter([rows, inputs], np.float32)
        yield precision, compiled(name, parameter, parameter, ops.constant(w), x)
    parameter = ops.parameter([rows, inputs], np.uint8)
    low, high = np.float32(0), np.float32(255)
    activations = ops.fake_quantize(ops.convert(parameter, "f32"), low, high, low, high / 100, 256)
    weights = ops.multiply(ops.convert(ops.constant(w8), "f32"), np.float32(0.01))
    yield "int8", compiled("f32", parameter, activations, weights, x8)
