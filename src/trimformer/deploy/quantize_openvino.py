"""Files of lower precision, made from the exported fp32 graph.

int8 for OpenVINO is static, which is what its kernels want: the outliers are moved out of the way, and sample texts set
the ranges. That for ONNX Runtime is in :mod:`trimformer.deploy.quantize_onnx`.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ..console import Ticker
from ..encoder import TrimformerConfig
from ..hardware import int8_saturates
from ..inference import batches
from ..inference.runtimes.openvino import require_openvino, without_telemetry
from ..inference.runtimes.session import arrays
from ..tasks.encoding.encoded import Encoded
from .onnx import random_inputs
from .openvino import read, save
from .quantize_onnx import EXITS, plain_name

Samples = list[dict[str, np.ndarray]]
TEXTS = 300
RANDOM = 32
SMOOTHING = 0.9  # how much of an outlier moves into the weights; NNCF's own 0.95 gives larger errors
PASSES = 2  # over the samples: one for the outliers, one for the ranges


def samples(config: TrimformerConfig, texts: Encoded | None) -> Samples:
    """Inputs of one row each, so without padding: 300 of the texts, of all their lengths; without texts random ids."""
    if texts is None:
        lengths = np.linspace(1, min(128, config.max_tokens), RANDOM).astype(int).tolist()
        return [arrays(random_inputs(config, 1, n, seed=n)) for n in lengths]
    order = np.argsort(texts.lengths, kind="stable")
    rows = order[np.linspace(0, len(order) - 1, min(TEXTS, len(order))).astype(int)]
    return [arrays(batches.inputs(texts, row)) for row in rows[:, None]]


def openvino_int8(source: Path, target: Path, inputs: Samples, kept: Collection[str] = ()) -> None:
    """int8 weights and inputs of linear maps, by NNCF, which first moves outliers of the inputs into the weights.

    kept: plain names of maps that stay as they are.
    """
    nncf = _nncf()
    from nncf.quantization import advanced_parameters, range_estimator

    overflow = advanced_parameters.OverflowFix
    model = read(source)
    with _quiet_bars(), Ticker("Calibrating", PASSES * len(inputs)) as tick:

        def counted(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            tick.advance()
            # ONNX Runtime gives integers of a C type that OpenVINO does not know, though they have the same name.
            return {name: values.astype(values.dtype.name) for name, values in sample.items()}

        quantized = nncf.quantize(
            model,
            nncf.Dataset(inputs, counted),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=_unquantized(model, kept)),
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


def _unquantized(model: Any, kept: Collection[str] = ()) -> list[str]:
    """Products of two activations, convolutions, exits, and the maps that are kept by their plain names.

    One range for all lengths is too coarse for attention scores, attention outputs and means of long texts. The
    convolutions are a small part of the work, and NNCF cannot collect their ranges over texts of several lengths.
    """
    return [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "GroupConvolution"
        or (node.get_type_name() == "MatMul" and not any(map(_weight, node.inputs())))
        or any(weight.startswith(EXITS) or plain_name(weight) in kept for weight in map(_weight, node.inputs()))
    ]


def _weight(end: Any) -> str:
    """The name of the constant that an input is made of, empty for any other."""
    node = end.get_source_output().get_node()
    if node.get_type_name() in ("Convert", "Reshape", "Transpose"):
        return _weight(node.input(0))
    return str(node.get_friendly_name()) if node.get_type_name() == "Constant" else ""


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
