"""Quantization-aware training: the encoder is trained under the rounding that it will have in int8.

Zafrir, Boudoukh, Izsak and Wasserblat, "Q8BERT", 2019: weights and inputs of linear maps are rounded to symmetric
8-bit integers, Q(x) = clip(round(x / s)) with s = max|x| / 127, of weights as they are, of inputs a moving maximum; the
gradient passes the rounding as if it were not there. Norms, softmax and GELU stay in floating point. A weight matrix
has a scale for each output unit here and not one for all, and the word table one for each word, as int8 files have.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.baked import bake
from ...encoder.shape.gates import Gates
from ..base import DISTILLED, Context, MethodSettings, Standard, StudentMethod, register
from ..result import Result

LARGEST = 127
SMALLEST = 1e-12
"""In place of the largest value where all are 0."""
DISTANCES = ".relative."
"""In the names of maps that read the table of distances and no text: what they give is constant in a file."""
INPUT = "rounded_input"
"""What the module is called that rounds the inputs of a map."""


class QatSettings(MethodSettings):
    """Settings of qat."""

    name: Literal["qat"] = "qat"
    momentum: float = Field(
        0.99, ge=0, lt=1, description="how much of the largest input so far stays in each step; the first step sets it"
    )


class RoundedWeight(nn.Module):
    """A weight (rows, columns) rounded to int8, with a scale for each row."""

    def forward(self, weight: Tensor) -> Tensor:
        return rounded(weight, weight.detach().abs().amax(1, keepdim=True), -LARGEST)


class RoundedInput(nn.Module):
    """An input rounded to int8 within the moving maximum of its absolute values, which training moves."""

    largest: Tensor

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            found = x.detach().abs().max().to(self.largest)
            self.largest.copy_(torch.where(self.largest > 0, self.largest.lerp(found, 1 - self.momentum), found))
        return rounded(x, self.largest, -LARGEST - 1)


def rounded(x: Tensor, largest: Tensor, least: int) -> Tensor:
    """The nearest of the values k s with s = largest / 127 and least <= k <= 127; its gradient is that of x."""
    exact = x.detach().to(torch.promote_types(x.dtype, torch.float32))  # bf16 cannot tell the values apart
    step = largest.clamp(min=SMALLEST).to(exact.dtype) / LARGEST
    found = torch.round(exact / step).clamp(least, LARGEST) * step
    return x + (found - exact).to(x.dtype)


@register
class Qat(StudentMethod):
    """Round weights and inputs of linear maps while they are trained."""

    name = "qat"
    Settings = QatSettings
    example = {"momentum": 0.9}  # noqa: RUF012  (never written to)
    decides = False
    rounds = True
    standard = Standard(objective=DISTILLED, repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        self.inputs = made_rounded(context.model, settings.momentum)
        super().__init__(settings, context)

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def result(self) -> Result:
        """The model with weights that are their int8 values, and the ranges of its inputs in its configuration."""
        weights = {name: value for name, value in bake(self.model).state_dict().items() if f".{INPUT}." not in name}
        config = type(self.model.config).from_dict(self.model.config.to_dict())
        config.input_ranges = {name: float(module.largest) for name, module in self.inputs.items()}
        with torch.device("meta"):  # its random weights would be thrown away
            model = type(self.model)(config)
        model.load_state_dict(weights, assign=True)
        model.tie_weights(recompute_mapping=False)  # each name was given a tensor of its own
        return Result(model.cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        maps = len(set(self.inputs.values()))
        return [
            f"{maps} linear maps were trained under the rounding of int8: files in int8 round as in training and need "
            "no calibration; in fp32 the inputs are not rounded."
        ]


def made_rounded(model: TrimformerWithHead, momentum: float) -> dict[str, RoundedInput]:
    """Round the weights and inputs of all linear maps, and the word table; what rounds the inputs, by plain name."""
    inputs = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):  # layers may share theirs
        if not isinstance(module, nn.Linear) or DISTANCES in name:
            continue
        if not hasattr(module, INPUT):
            parametrize.register_parametrization(module, "weight", RoundedWeight())
            module.add_module(INPUT, RoundedInput(momentum))
            module.register_forward_pre_hook(_round_input)
        inputs[name.removeprefix("encoder.")] = module.get_submodule(INPUT)
    parametrize.register_parametrization(model.encoder.embeddings.word, "weight", RoundedWeight())
    return inputs  # type: ignore[return-value]


def _round_input(module: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (module.get_submodule(INPUT)(given[0]), *given[1:])
