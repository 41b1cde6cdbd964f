"""One matrix: the plain linear map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import TrimformerError
from ...shape.kinds import LINEAR
from .base import DENSE, Axes, LinearMap, Number, Settings


@LINEAR.add("dense")
class DenseMap(LinearMap):
    """W x + b"""

    kind = "dense"
    about = "one matrix"
    module = nn.Linear
    example = DENSE

    @classmethod
    def check(cls, settings: Settings) -> None:
        if set(settings) != {"kind"}:
            raise TrimformerError(f"A dense map has no settings of its own, got {dict(settings)}: leave them out.")

    @classmethod
    def make(cls, settings: Settings, inputs: int, outputs: int, bias: bool) -> nn.Module:
        return nn.Linear(inputs, outputs, bias=bias)

    @classmethod
    def axes(cls, outputs: str | None, inputs: str | None) -> dict[str, Axes]:
        return {"weight": (outputs, inputs), "bias": (outputs,)}

    @classmethod
    def params(cls, settings: Settings, inputs: Number, outputs: Number) -> Number:
        return inputs * outputs

    @classmethod
    def flops(cls, settings: Settings, inputs: Number, outputs: Number) -> Number:
        return 2 * inputs * outputs

    @classmethod
    def scaled(cls, module: Any, factor: float) -> nn.Module:
        return made(module.weight * factor, None if module.bias is None else module.bias * factor)


def made(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A constant map with this weight (outputs, inputs)."""
    with torch.device("meta"):
        found = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    found.weight = constant(weight)
    if bias is not None:
        found.bias = constant(bias)
    return found


def stacked(linears: Sequence[nn.Linear]) -> nn.Linear:
    """Maps of the same input as one map with their outputs behind one another."""
    weight = torch.cat([linear.weight for linear in linears])
    return made(weight, None if linears[0].bias is None else torch.cat([linear.bias for linear in linears]))


def constant(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)
