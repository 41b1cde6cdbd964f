"""Training under rounding: weights and inputs are rounded in each pass, and the numbers behind them are trained.

The gradient passes the rounding as if it were not there (straight-through: Bengio, Léonard and Courville, "Estimating
or Propagating Gradients Through Stochastic Neurons for Conditional Computation", 2013).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.packing import groups
from ...encoder.parts.baked import bake
from ...encoder.shape.gates import Gates
from ..base import DISTILLED, Context, Standard, StudentMethod
from ..result import Result

LARGEST = 127
SMALLEST = 1e-12
"""In place of the largest value where all are 0."""
DISTANCES = ".relative."
"""In the names of maps that read the table of distances and no text: what they give is constant in a file."""
INPUT = "rounded_input"
"""What the module is called that rounds the inputs of a map."""


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


class GroupedWeight(nn.Module):
    """A weight as whole numbers of a few bits times a scale for each group of 64 in a row: the packing ``groups``."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        # What is added is exactly 0, so that the weight is one that the packing holds; its gradient is that of weight.
        return groups.rounded(weight, self.bits) + (weight - weight.detach())


class RoundedTraining(StudentMethod):
    """A method that trains weights under rounding, and leaves the rounded ones."""

    decides = False
    standard = Standard(objective=DISTILLED, repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        self.inputs = self.put(settings, context)
        super().__init__(settings, context)

    def put(self, settings: Any, context: Context) -> dict[str, RoundedInput]:
        """Put the weights of the model under rounding, and the inputs of its maps; what rounds these, by plain name."""
        raise NotImplementedError

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def result(self) -> Result:
        """The model with its rounded weights, and the ranges of its inputs in its configuration where it has some."""
        baked = bake(copy.deepcopy(self.model).eval())
        weights = {name: value for name, value in baked.state_dict().items() if f".{INPUT}." not in name}
        config = type(self.model.config).from_dict(self.model.config.to_dict())
        config.input_ranges = {name: float(module.largest) for name, module in self.inputs.items()} or None
        with torch.device("meta"):  # its random weights would be thrown away
            model = type(self.model)(config)
        model.load_state_dict(weights, assign=True)
        model.tie_weights(recompute_mapping=False)  # each name was given a tensor of its own
        return Result(model.cpu(), notes=self.notes())


def rounded(x: Tensor, largest: Tensor, least: int) -> Tensor:
    """The nearest of the values k s with s = largest / 127 and least <= k <= 127; its gradient is that of x."""
    exact = x.detach().to(torch.promote_types(x.dtype, torch.float32))  # bf16 cannot tell the values apart
    step = largest.clamp(min=SMALLEST).to(exact.dtype) / LARGEST
    found = torch.round(exact / step).clamp(least, LARGEST) * step
    return x + (found - exact).to(x.dtype)


def round_weights(model: TrimformerWithHead, rounding: Callable[[str], nn.Module | None]) -> None:
    """Put the linear maps and the embedding tables under what is made for their names; None: one stays as it is."""
    tables = ((f"encoder.embeddings.{name}", one) for name, one in model.encoder.embeddings.named_children())
    for name, module in [*text_maps(model), *((name, one) for name, one in tables if isinstance(one, nn.Embedding))]:
        if (made := rounding(name)) is not None:
            parametrize.register_parametrization(module, "weight", made)


def round_inputs(model: TrimformerWithHead, momentum: float) -> dict[str, RoundedInput]:
    """Round the inputs of all linear maps; what does, by each plain name of a map: layers may share theirs."""
    found: dict[str, Any] = {}
    for _, module in text_maps(model):
        module.add_module(INPUT, RoundedInput(momentum))
        module.register_forward_pre_hook(_round_input)
    for name, module in model.named_modules(remove_duplicate=False):
        if hasattr(module, INPUT):
            found[name.removeprefix("encoder.")] = module.get_submodule(INPUT)
    return found


def text_maps(model: TrimformerWithHead) -> list[tuple[str, nn.Linear]]:
    """The linear maps that read texts, each once, by their first names."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and DISTANCES not in name
    ]


def _round_input(module: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (module.get_submodule(INPUT)(given[0]), *given[1:])
