"""The pull of a cost towards a target, for architectures that are soft or sampled while they are learned.

Dong and Yang, "Network Pruning via Transformable Architecture Search", 2019, section 3.1: while the cost F of the
architecture as it would be cut now is off a target R by more than a tolerance t, the logarithm of its expected cost E,
which has a gradient, is added to the loss or taken from it.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...curves import aim_of
from ..base import Context
from ..history import History
from ..structure.cost import CostSettings, ExpectedCost

Cost = Literal["flops", "params", "bytes", "ms", "dimensions"]
COST = "cost"
"""The curve of F; that of R is its aim. Both are shares of the dense cost."""


class TargetSettings(CostSettings):
    """A share of the dense cost that a search is drawn to."""

    cost: Cost = Field(  # type: ignore[assignment]
        "flops",
        description="operations for a text, weights, their bytes in fp32, milliseconds of a batch on this machine; of "
        "the layers; or dimensions: what has a gate, each counted as one",
    )
    target: float = Field(gt=0, le=1, description="share of the dense cost that is aimed at")
    tolerance: float = Field(0.05, ge=0, lt=1, description="share of the target by which the cost may be off it")
    cost_weight: float = Field(2.0, ge=0, description="weight of the cost in the loss; 0: the loss alone decides")


def cost_loss(expected: Tensor, now: float, target: float, tolerance: float) -> Tensor:
    """log E where F > (1 + t) R, -log E where F < (1 - t) R, 0 between.

    expected: E, with a gradient. now: F. All three are shares of the dense cost.
    """
    if now > (1 + tolerance) * target:
        return torch.log(expected)
    return -torch.log(expected) if now < (1 - tolerance) * target else torch.zeros_like(expected)


class CostTarget:
    """The cost of what a search may leave, its pull towards the target, and both as curves, a point for each epoch."""

    def __init__(self, settings: TargetSettings, context: Context) -> None:
        self.settings, self.cost = settings, ExpectedCost(settings, context)
        self.steps, self.per_epoch = context.steps, context.steps / context.training.epochs

    def loss(self, expected: Tensor, now: float) -> Tensor:
        """The weighted :func:`cost_loss`."""
        return self.settings.cost_weight * cost_loss(expected, now, self.settings.target, self.settings.tolerance)

    def record(self, history: History, step: int, now: float) -> None:
        """Add F and R to the curves at the first step, and where an epoch ends. step: numbered from 1."""
        if step in (1, self.steps) or step // self.per_epoch > (step - 1) // self.per_epoch:
            history.add(COST, step, now)
            history.add(aim_of(COST), step, self.settings.target)

    def note(self, now: float) -> str:
        """A sentence on what was reached."""
        settings = self.settings
        within = abs(now - settings.target) <= settings.tolerance * settings.target
        reached = "within" if within else "not within"
        return (
            f"{now:.3f} of the dense {self.cost} stay, {reached} {settings.tolerance:g} of the target "
            f"{settings.target:g}."
        )

    def state_dict(self) -> dict[str, Any]:
        return {"cost": self.cost.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.cost.load_state_dict(state["cost"])
