"""One operation over neighbouring tokens: the layer of a convolutional student.

The operations are those that AdaBERT's search chooses from (Chen et al., 2020), but for its zero: plain and dilated
convolutions, pooling, and nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import LAYERS
from ..attention.base import Times
from ..linear.base import Number
from ..norms import layer_norm
from ..sizes import Inside, Sizes
from ..tokens import Tokens
from .base import NOTHING_TO_LOSE, ExportedReader, Layer

KERNELS = (3, 5, 7)
CONVOLUTIONS = {f"conv{kernel}": (kernel, 1) for kernel in KERNELS} | {f"dilated{k}": (k, 2) for k in KERNELS}
"""The tokens under each convolution, and how far they are from one another."""
POOLS = ("avg-pool", "max-pool")
"""Over a token and its two neighbours."""
SKIP = "skip"
OPERATIONS = (*CONVOLUTIONS, *POOLS, SKIP)


def cnn_shape(operation: str) -> LayerShape:
    """The shape of a layer with this operation."""
    return LayerShape("none", 1, 1, 0, cell={"operation": operation})


@LAYERS.add("cnn")
class CnnLayer(Layer):
    """LN(x + operation(x)); a convolution has an activation behind it, and ``skip`` leaves x as it is."""

    kind = "cnn"
    about = "one operation over neighbouring tokens: a convolution, a pool or nothing"
    mixes = True
    keeps = NOTHING_TO_LOSE | {"hidden": "its convolutions go from all dimensions to all"}
    settings = ("operation",)
    examples = tuple(map(cnn_shape, ("dilated3", "max-pool", "conv5", "avg-pool", SKIP)))
    axes = {"conv": (None,), "norm": (None,)}  # noqa: RUF012  (never written to)

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        super().__init__(config, shape, first)
        self.operation = shape.cell["operation"]
        if self.operation in CONVOLUTIONS:
            kernel, step = CONVOLUTIONS[self.operation]
            # Seen as an image one pixel high, whose channels lie side by side, it meets the fast kernels.
            size, reach = (1, kernel), (0, step * (kernel // 2))
            self.conv = nn.Conv2d(config.hidden_size, config.hidden_size, size, padding=reach, dilation=(1, step))
            self.activation = ACT2FN[config.hidden_act]
        self.norm = nn.Identity() if self.operation == SKIP else layer_norm(config)

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        return tokens.of(self.read(x, tokens.attention_mask))

    def read(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, n, hidden) -> the same. mask: (batch, n), 1 = real token; padding counts for nothing."""
        if self.operation == SKIP:
            return x
        real = x.new_ones(x.shape[:2]) if mask is None else mask.to(x.dtype)
        found: Tensor = self.norm(x + self.dropout(self._mixed(x, real[..., None])))
        return found

    def _mixed(self, x: Tensor, real: Tensor) -> Tensor:
        if self.operation in CONVOLUTIONS:
            image = (x * real).transpose(1, 2)[:, :, None]
            mixed: Tensor = self.activation(self.conv(image)[:, :, 0].transpose(1, 2))
            return mixed
        if self.operation == "max-pool":
            lowest = torch.finfo(x.dtype).min
            around = _neighbours(x.masked_fill(real == 0, lowest), lowest)
            return torch.stack(around).amax(0) * real  # a place of padding alone has no largest value
        sums, counts = (torch.stack(_neighbours(y, 0.0)).sum(0) for y in (x * real, real))
        found: Tensor = sums / counts.clamp(min=1)
        return found

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        super().check(shape)
        if shape.cell.get("operation") not in OPERATIONS:
            raise TrimformerError(f"A layer of kind cnn has an operation of {', '.join(OPERATIONS)}, got {shape}.")

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, first: bool) -> dict[str, Number]:
        operation, d = shape.cell["operation"], sizes.hidden
        kernel = CONVOLUTIONS.get(operation, (0, 0))[0]
        norm = 0 if operation == SKIP else d * (1 + config.norm_bias)
        return {"operation": d * d * kernel + d * (kernel > 0) + norm}

    @classmethod
    def flops(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
        """2nkd² for a kernel of k; all tokens are computed, whatever is asked for. Pools are not counted."""
        return 2 * n * CONVOLUTIONS.get(shape.cell["operation"], (0, 0))[0] * sizes.hidden**2

    @classmethod
    def plain(cls, shape: LayerShape, units: int) -> LayerShape:
        return cnn_shape(SKIP)

    @classmethod
    def knots(
        cls, config: TrimformerConfig, plain: LayerShape, kinds: Sequence[str]
    ) -> Iterator[tuple[str, int, LayerShape]]:
        for operation in OPERATIONS:
            if operation != SKIP:
                yield operation, 0, cnn_shape(operation)

    @classmethod
    def milliseconds(cls, times: Times, shape: LayerShape, inside: Inside, place: str) -> Number:
        operation = shape.cell["operation"]
        return 0.0 if operation == SKIP else times.time(operation, 0)

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedReader(self, first_only)


def _neighbours(x: Tensor, outside: float) -> list[Tensor]:
    """The states before, at and after each token, (batch, n, …) each. Shifts leave the length open in exported graphs,
    where pools of one dimension fix it."""
    wide = F.pad(x, (0, 0, 1, 1), value=outside)
    return [wide[:, :-2], x, wide[:, 2:]]
