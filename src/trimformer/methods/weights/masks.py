"""Masks on the linear maps of the layers: what all methods have in common that make single weights 0.

A mask is a parametrization: the dense weight is kept and trained under it, and the zeros are written in the end.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...encoder.model.body import TrimformerModel
from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.baked import bake
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import DISTILLED, Context, MethodSettings, Standard, StudentMethod
from ..result import Result

NO_GAIN = (
    "The file is smaller, because a zero is saved as a bit, and the time is the same: hardware for dense matrices "
    "needs as long as before."
)


class ScheduleSettings(MethodSettings):
    """When weights go, in shares of the training."""

    begin: float = Field(0.0, ge=0, le=1, description="share of the steps after which weights begin to go")
    end: float = Field(0.7, gt=0, le=1, description="share of the steps after which no more go")

    def at(self, done: float, first: float, last: float) -> float:
        """A value on its way from first to last when this share of the steps is done."""
        return cubic(done, first, last, self.begin, self.end)


class Masked(nn.Module):
    """A weight times its mask."""

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class Pruning(StudentMethod):
    """A method that puts masks on weights, and trains the others under the stage's objective."""

    decides = False
    standard = Standard(objective=DISTILLED, repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        self.weights = self.put(settings, context.model)
        super().__init__(settings, context)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if isinstance(settings, ScheduleSettings) and settings.end < settings.begin:
            raise TrimformerError(f"end={settings.end} lies before begin={settings.begin}: set end to at least begin.")
        with torch.device("meta"):
            maps = maps_of(TrimformerModel(config).layers)
        if not maps:
            raise TrimformerError(
                f"The layers of this encoder have no linear maps whose weights {cls.name} could mask: choose a method "
                "that removes something else."
            )

    def put(self, settings: Any, model: TrimformerWithHead) -> dict[str, Any]:
        """Put masks on the weights; the lists of their parametrizations by the name of the map."""
        maps = maps_of(model.encoder.layers)
        return {name: parametrized(module, Masked(module.weight)) for name, module in maps.items()}

    def update(self, step: int) -> dict[str, float]:
        logged = super().update(step)
        with self.clock("step"):
            self.prune(step)
        return logged | {"density": self.density()}

    def prune(self, step: int) -> None:
        """Set the masks after an optimiser step."""
        raise NotImplementedError

    def keep(self, masks: dict[str, Tensor]) -> None:
        """Set the masks of these maps."""
        for name, mask in masks.items():
            self.weights[name][0].mask.copy_(mask)

    def density(self) -> float:
        """The share of the weights that is not masked."""
        masks = [parametrizations[0].mask for parametrizations in self.weights.values()]
        return sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def finish(self) -> None:
        """Set the masks of the end, also where the training was cut short."""
        self.prune(self.context.steps)

    def result(self) -> Result:
        """The model with zeros among its weights."""
        self.finish()
        return Result(bake(self.model).cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        total = sum(parametrizations[0].mask.numel() for parametrizations in self.weights.values())
        density = self.density()
        return [
            f"{round(density * total):,} of {total:,} weights of the layers' linear maps stay ({density:.1%}), "
            f"{self.chosen()}; the others are 0.",
            NO_GAIN,
        ]

    def chosen(self) -> str:
        """Which weights these are, for the report."""
        raise NotImplementedError


def maps_of(layers: nn.Module) -> dict[str, nn.Linear]:
    """The linear maps of layers, once those that they share."""
    return {name: module for name, module in layers.named_modules() if isinstance(module, nn.Linear)}


def parametrized(module: nn.Module, mask: Masked, name: str = "weight") -> Any:
    """Put a mask on a weight of a module; its list of parametrizations, with the dense weight as ``original``."""
    parametrize.register_parametrization(module, name, mask)
    return module.parametrizations[name]  # type: ignore[index]


def cubic(done: float, first: float, last: float, begin: float, end: float) -> float:
    """The schedule of Zhu and Gupta, "To prune, or not to prune", 2017: fast at first.

    It is first until the share ``begin`` of the steps is done, last from ``end`` on, and between them
    last + (first - last) (1 - progress)³.
    """
    if done >= end:
        return last
    progress = max(0.0, done - begin) / (end - begin) if end > begin else 0.0
    return last + (first - last) * (1 - progress) ** 3


def largest(scores: list[Tensor], share: float) -> list[Tensor]:
    """Masks of the floor(share N) largest among these N scores, of equals the first ones."""
    return top(scores, int(share * sum(given.numel() for given in scores)))


def top(scores: list[Tensor], count: int) -> list[Tensor]:
    """Masks of so many of the largest scores, of equals the first ones."""
    flat = torch.cat([given.flatten() for given in scores])
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    if count:
        # Selection takes a tenth of the time of a sort.
        last = flat.kthvalue(len(flat) - count + 1).values
        chosen = flat > last
        equal = (flat == last).nonzero().flatten()
        chosen[equal[: count - int(chosen.sum())]] = True
    parts = chosen.split([given.numel() for given in scores])
    return [part.view_as(given) for part, given in zip(parts, scores, strict=True)]


def kept_label(name: str, density: float | None) -> str:
    """What a method of unstructured pruning is told to do, and that it saves no time, for the rows of reports."""
    share = "" if density is None else f", keep {density:.0%} of the weights"
    return f"{name}{share} (zeros: no time saved on dense hardware)"
