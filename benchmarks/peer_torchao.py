"""torchao int8: the stock model with its linear layers quantized."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peer_models import PACKAGES
from torch import Tensor

from trimformer.encoder.checkpoints.families import to_huggingface
from trimformer.encoder.model.heads import TrimformerWithHead
from trimformer.measure.bench.variants import Variant, reason

# (name, weights only, compiled): torchao's advice is to compile; eager shows what that is worth.
# It sets inductor options for the whole process, of which those that matter are for GPUs.
FORMS = (
    ("torchao-int8", False, False),
    ("torchao-int8, compiled", False, True),
    ("torchao-int8 weights, compiled", True, True),
)


def quantized(dense: TrimformerWithHead, weights_only: bool = False) -> Any:
    """The stock SDPA model; int8 weights by output unit, and activations by token at run time, or weights only."""
    if str(PACKAGES / "torch") not in sys.path:
        sys.path.append(str(PACKAGES / "torch"))
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

    module = to_huggingface(dense)
    module.set_attn_implementation("sdpa")
    quantize_(module, Int8WeightOnlyConfig() if weights_only else Int8DynamicActivationInt8WeightConfig())
    return module


def torchao_variants(dense: TrimformerWithHead) -> list[Variant]:
    """The forms of torchao int8; one that cannot be made says why."""
    return [_variant(dense, *form) for form in FORMS]


def _variant(dense: TrimformerWithHead, name: str, weights_only: bool, compiled: bool) -> Variant:
    try:
        module = quantized(dense, weights_only)
    except Exception as error:  # whatever torchao raises on this machine: the others go on
        return Variant("dense", name, None, reason(error))
    return Variant("dense", name, _runner(torch.compile(module) if compiled else module))


def _runner(module: Any) -> Callable[[dict[str, Tensor]], np.ndarray]:
    @torch.inference_mode()
    def run(inputs: dict[str, Tensor]) -> np.ndarray:
        values: np.ndarray = module(**inputs).logits.numpy()
        return values

    return run
