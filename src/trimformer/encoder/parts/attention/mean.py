"""The mean in the place of attention: W_O (W_V mean(x) + b_V) + b_O, one vector per sequence (AttendOut, Eq. 3)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import ATTENTION
from ..exported import ExportedTokens
from ..linear.base import Number
from ..linear.dense import constant
from ..sizes import Sizes
from ..tokens import Tokens
from .base import VALUE_AXES, VALUE_MAPS, Attention, give, make_values, value_flops


@ATTENTION.add("mean")
class MeanAttention(Attention):
    """Every token receives the same mean of the values.

    The mean over real tokens commutes with the linear maps, so it is taken first; the result (batch, 1, hidden) is
    broadcast by the residual sum and no work is done per token except the mean itself.
    """

    kind = "mean"
    about = "replaced by a constant mean: every token receives the same mean of the values"
    stands_in = True
    becomes = ("bias", "none")
    maps = VALUE_MAPS
    axes = VALUE_AXES

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__(config, shape)
        make_values(self, config, shape)

    @classmethod
    def instead_of(cls, layer: Any, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        return give(layer, layer.value(layer.inputs(tokens.mean_weights(x) @ x, gates)), gates)

    @classmethod
    def flops(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
        """2nd for the mean, taken as a product with the weights 1/n, and the maps of one vector."""
        return 2 * n * sizes.hidden + value_flops(shape, sizes)

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedMean(self)


class ExportedMean(nn.Module):
    """One product per sequence, (batch, n, hidden) -> (batch, 1, hidden): W_OV = W_O W_V, b = W_O b_V + b_O.

    There is no bias or mask between the two maps, so they compose; where maps do not fold they stay two.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        value, output, self.inputs = attention.value, attention.output, attention.inputs
        self.folds = attention.folds
        if not self.folds:
            self.value, self.output = value, output
            return
        w_value, w_output, dtype = value.weight.double(), output.weight.double(), value.weight.dtype
        self.weight = constant((w_output @ w_value).to(dtype))
        self.bias = None
        if value.bias is not None:  # the two maps have both a bias, or none
            self.bias = constant((w_output @ value.bias.double() + output.bias.double()).to(dtype))

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        mean = self.inputs((shared.mean_weights @ x).squeeze(1))
        found: Tensor = F.linear(mean, self.weight, self.bias) if self.folds else self.output(self.value(mean))
        return found[:, None]
