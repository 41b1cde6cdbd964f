"""Files of lower precision, made from the exported fp32 graph.

int8 for ONNX Runtime is dynamic: the range of each input of a product is found while it runs. Ranges fixed before, as
its static quantizer makes them, were no faster and less than half as exact. int8 for OpenVINO is static, which is what
its kernels want; there the outliers are moved out of the way, and sample texts set the ranges.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..console import Ticker
from ..encoder import TrimformerConfig
from ..hardware import int8_saturates
from ..inference.runtimes.openvino import require_openvino, without_telemetry
from ..inference.runtimes.session import arrays
from ..tasks.encoding.encoded import Encoded
from .onnx import random_inputs
from .openvino import read, save

Samples = list[dict[str, np.ndarray]]
TEXTS = 300
RANDOM = 32
SMOOTHING = 0.9  # how much of an outlier moves into the weights; NNCF's own 0.95 gives larger errors
PASSES = 2  # over the samples: one for the outliers, one for the ranges
WORD_TABLE = "embeddings.word.weight"


def samples(config: TrimformerConfig, texts: Encoded | None) -> Samples:
    """Inputs of one row each, so without padding: 300 of the texts, of all their lengths; without texts random ids."""
    if texts is None:
        lengths = np.linspace(1, min(128, config.max_tokens), RANDOM).astype(int).tolist()
        return [arrays(random_inputs(config, 1, n, seed=n)) for n in lengths]
    order = np.argsort(texts.lengths, kind="stable")
    rows = order[np.linspace(0, len(order) - 1, min(TEXTS, len(order))).astype(int)].tolist()
    return [arrays(texts.batch([row])) for row in rows]


def onnx_int8(source: Path, target: Path) -> None:
    """int8 weights, one scale for each output unit; inputs of products in int8, their range found at run time.

    Signed weights use the fast kernels of CPUs with VNNI; a scale for each unit costs no time and halves the
    error or better. The word table is int8 too: it is most of a small encoder's bytes. On a processor whose sums of
    signed products overflow the weights are unsigned: a sixth slower there than 7 bits, with half of their error.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = _read_onnx(source)
    with _quiet_quantizer():
        quantize_dynamic(
            graph,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            weight_type=QuantType.QUInt8 if int8_saturates() else QuantType.QInt8,
            nodes_to_exclude=_excluded(graph.graph),
            extra_options={"MatMulConstBOnly": True},
        )


def openvino_int8(source: Path, target: Path, inputs: Samples) -> None:
    """int8 weights and inputs of linear maps, by NNCF, which first moves outliers of the inputs into the weights."""
    nncf = _nncf()
    from nncf.quantization import advanced_parameters, range_estimator

    overflow = advanced_parameters.OverflowFix
    model = read(source)
    with _quiet_bars(), Ticker("Calibrating", PASSES * len(inputs)) as tick:

        def counted(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            tick.advance()
            return sample

        quantized = nncf.quantize(
            model,
            nncf.Dataset(inputs, counted),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=_unquantized(model)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # The largest values of all texts. NNCF's own mean over the texts clips what the longer ones hold.
                activations_range_estimator_params=range_estimator.RangeEstimatorParametersSet.MINMAX,
                smooth_quant_alphas=advanced_parameters.AdvancedSmoothQuantParameters(matmul=SMOOTHING),
                overflow_fix=overflow.ENABLE if int8_saturates() else overflow.FIRST_LAYER,
            ),
        )
    save(quantized, target)


def openvino_int4(source: Path, target: Path) -> None:
    """Weights of linear maps in int4, groups of which have a scale; embeddings in int8; arithmetic in fp32 or bf16."""
    nncf = _nncf()
    with _quiet_bars():
        compressed = nncf.compress_weights(
            read(source),
            mode=nncf.CompressWeightsMode.INT4_SYM,
            advanced_parameters=nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST  # where 128 does not divide the width
            ),
        )
    save(compressed, target)


def _unquantized(model: Any) -> list[str]:
    """Products of two activations, and convolutions.

    One range for all lengths is too coarse for attention scores, attention outputs and means of long texts. The
    convolutions are a small part of the work, and NNCF cannot collect their ranges over texts of several lengths.
    """
    return [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "GroupConvolution"
        or (node.get_type_name() == "MatMul" and not any(_is_constant(end) for end in node.inputs()))
    ]


def _is_constant(end: Any) -> bool:
    node = end.get_source_output().get_node()
    if node.get_type_name() in ("Convert", "Reshape", "Transpose"):
        return _is_constant(node.input(0))
    return bool(node.get_type_name() == "Constant")


def _quiet_bars() -> contextlib.AbstractContextManager[Any]:
    """NNCF draws progress bars of its own on standard output, across ours."""
    return contextlib.redirect_stdout(io.StringIO())


def _nncf() -> Any:
    """NNCF, which reports its use to its makers unless the package for that is missing."""
    require_openvino()
    with without_telemetry():
        import nncf
    nncf.set_log_level(logging.ERROR)
    return nncf


def _read_onnx(source: Path) -> Any:
    import onnx

    model = onnx.load(str(source))
    _transpose_shared(model.graph)
    return model


def _excluded(graph: Any) -> list[str]:
    """Nodes that stay fp32.

    The small position and segment tables, because their few large rows would set the scale of all; and stacks of
    matrices, such as DeBERTa's position keys of all heads, for which the runtime has no scales by unit.
    """
    dimensions = {weight.name: len(weight.dims) for weight in graph.initializer}
    return [
        node.name
        for node in graph.node
        if (node.op_type == "Gather" and WORD_TABLE not in node.input)
        or (node.op_type == "MatMul" and dimensions.get(node.input[1], 0) > 2)
    ]


def _transpose_shared(graph: Any) -> None:
    """Transpose weights that several Gemms read, as layers that share them do.

    The quantizer wants weights that are not to be transposed. It turns them itself, once for each Gemm that reads
    them, as if no other did.
    """
    from onnx import numpy_helper

    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type == "Gemm" and any(a.name == "transB" and a.i == 1 for a in node.attribute):
            readers.setdefault(node.input[1], []).append(node)
    for weight in graph.initializer:
        shared = readers.get(weight.name, [])
        if len(shared) > 1:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), weight.name))
            for node in shared:
                next(a for a in node.attribute if a.name == "transB").i = 0


@contextlib.contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """The quantizer advises a pre-processing that this graph does not need."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
