"""Two thin matrices in the place of one (Noach and Goldberg, "Compressing Pre-trained Language Models by Matrix
Decomposition", 2020)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import TrimformerError
from ...shape.kinds import LINEAR
from .base import Axes, LinearMap, Number, Settings
from .dense import made


class ThinMaps(nn.Module):
    """(…, inputs) -> (…, rank) -> (…, outputs); the bias is that of the second."""

    def __init__(self, inputs: int, rank: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, rank, bias=False)
        self.second = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(x))
        return found

    @property
    def weight(self) -> Tensor:
        """The one matrix that both are, (outputs, inputs)."""
        return self.second.weight @ self.first.weight

    @property
    def bias(self) -> Tensor | None:
        return self.second.bias


@LINEAR.add("low-rank")
class LowRankMap(LinearMap):
    """(W2 W1) x + b, where W1 has ``rank`` rows."""

    kind = "low-rank"
    about = "two thin matrices"
    module = ThinMaps
    example = {"kind": "low-rank", "rank": 3}  # noqa: RUF012  (never written to)

    @classmethod
    def check(cls, settings: Settings) -> None:
        rank = settings.get("rank")
        if set(settings) != {"kind", "rank"} or not isinstance(rank, int) or rank < 1:
            raise TrimformerError(f"A low-rank map needs a rank of at least 1 and nothing else, got {dict(settings)}.")

    @classmethod
    def make(cls, settings: Settings, inputs: int, outputs: int, bias: bool) -> nn.Module:
        return ThinMaps(inputs, settings["rank"], outputs, bias)

    @classmethod
    def axes(cls, outputs: str | None, inputs: str | None) -> dict[str, Axes]:
        return {"first.weight": (None, inputs), "second.weight": (outputs, None), "second.bias": (outputs,)}

    @classmethod
    def params(cls, settings: Settings, inputs: Number, outputs: Number) -> Number:
        return settings["rank"] * (inputs + outputs)

    @classmethod
    def flops(cls, settings: Settings, inputs: Number, outputs: Number) -> Number:
        return 2 * settings["rank"] * (inputs + outputs)

    @classmethod
    def last(cls, module: Any) -> nn.Module:
        found: nn.Module = module.second
        return found

    @classmethod
    def scaled(cls, module: Any, factor: float) -> nn.Module:
        bias = module.second.bias
        first = made(module.first.weight, None)
        second = made(module.second.weight * factor, None if bias is None else bias * factor)
        return nn.Sequential(OrderedDict(first=first, second=second))


def decomposed(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best (rank, inputs) and (outputs, rank) whose product is nearest to a matrix (Eckart and Young, 1936).

    The singular values are split evenly: (U √Σ)_r (√Σ Vᵀ)_r.
    """
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    root = s[:rank].sqrt()
    return (root[:, None] * v[:rank]).to(weight.dtype), (u[:, :rank] * root).to(weight.dtype)
