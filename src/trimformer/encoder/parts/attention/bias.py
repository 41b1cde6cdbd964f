"""What is left of attention without any head or value: the bias of the output map, for every token the same."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import ATTENTION
from ..linear.base import Number
from ..sizes import Sizes
from ..tokens import Tokens
from .base import BIAS, Attention, OutputBias


@ATTENTION.add(BIAS)
class BiasAttention(Attention):
    """The output bias, (batch, 1, hidden); nothing in an encoder whose attention has no biases."""

    kind = BIAS
    about = "reduced to the bias of its output"
    mixes = False
    has_values = False
    becomes = ("none",)
    axes = {"output": ("stream",)}  # noqa: RUF012  (never written to)

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__(config, shape)
        self.output = OutputBias(config.hidden_size, config.attention_bias)

    def mix(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> Tensor | None:
        found: Tensor | None = self.output(x)
        return found

    @classmethod
    def instead_of(cls, layer: Any, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor | None:
        bias = layer.output.bias
        return None if bias is None else bias.expand(x.shape[0], 1, -1)

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes) -> dict[str, Number]:
        return {"bias": sizes.hidden * config.attention_bias}

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedBias(self.output)


class ExportedBias(nn.Module):
    """The same vector for every token, (batch, 1, hidden), or nothing."""

    def __init__(self, output: OutputBias) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor, shared: Any) -> Tensor | None:
        given: Tensor | None = self.output(x)
        return given
