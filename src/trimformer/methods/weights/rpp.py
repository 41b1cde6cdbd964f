"""Reweighted proximal pruning: an ℓ1 penalty that weighs small weights more draws them to 0, beside the optimiser.

Guo, Liu, Lin and Wang, "Reweighted Proximal Pruning for Large-Scale Language Representation", 2019: the loss plus
λ Σ γ |w| with γ = 1 / (|w| + ε), estimated anew from time to time (Candès, Wakin and Boyd, 2008). AdamW steps on the
loss alone to w̃; then w = sign(w̃) max(|w̃| - η λ γ, 0) with its learning rate η, so that no moment ever sees the
penalty. Which weights are 0 is fixed in the end, and the others are trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.model.heads import TrimformerWithHead
from ..base import Context, MethodSettings, register
from .masks import Masked, Pruning, kept_label, maps_of, parametrized, top


class ReweightedSettings(MethodSettings):
    """Settings of reweighted proximal pruning."""

    name: Literal["rpp"] = "rpp"
    density: float = Field(gt=0, lt=1, description="share of the weights of the layers' linear maps that stays at most")
    penalty: float | None = Field(
        None, gt=0, description="λ; none: that with which the penalty alone would bring the weights to the density"
    )
    epsilon: float = Field(1e-3, gt=0, description="ε: how much more the smallest weights are drawn than the others")
    estimates: int = Field(10, ge=1, description="times that γ is estimated, evenly spread")
    end: float = Field(0.7, gt=0, le=1, description="share of the steps after which it is fixed which weights are 0")

    @property
    def label(self) -> str:
        return kept_label(self.name, self.density)


class Reweighted(Masked):
    """A weight times its mask, with the γ of its penalty."""

    gamma: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.register_buffer("gamma", torch.zeros_like(weight))


@register
class ReweightedPruning(Pruning):
    """Draw weights to 0 by a penalty that no moment of the optimiser sees, then train those that are left."""

    name = "rpp"
    Settings = ReweightedSettings
    example = {"density": 0.5}  # noqa: RUF012  (never written to)

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        network, self.last = self.networks["model"], max(1, round(settings.end * context.steps))
        factor, rate = network.scheduler.lr_lambdas[0], network.scheduler.base_lrs[0]
        self.penalty = settings.penalty or self.enough(sum(float(rate * factor(step)) for step in range(self.last)))
        self.zeroed: float | None = None  # known when it is fixed which weights are 0

    def put(self, settings: Any, model: TrimformerWithHead) -> dict[str, Any]:
        maps = maps_of(model.encoder.layers)
        return {name: parametrized(module, Reweighted(module.weight)) for name, module in maps.items()}

    def enough(self, rates: float) -> float:
        """The λ with which the penalty alone, under learning rates of this sum, leaves as many weights as may stay.

        |w| falls by η λ / (|w| + ε) in a step, so that |w|² / 2 + ε |w| falls by λ times the sum.
        """
        sizes = torch.cat([given.original.detach().abs().flatten() for given in self.weights.values()])
        gone = max(1, len(sizes) - int(self.settings.density * len(sizes)))
        bar = sizes.kthvalue(gone).values.item()
        return float((bar**2 / 2 + self.settings.epsilon * bar) / rates)

    def update(self, step: int) -> dict[str, float]:
        self.rate = self.networks["model"].optimizer.param_groups[0]["lr"]
        return super().update(step)

    @torch.no_grad()
    def prune(self, step: int) -> None:
        if self.zeroed is not None:
            return
        if (step - 1) * self.settings.estimates // self.last != (step - 2) * self.settings.estimates // self.last:
            for given in self.weights.values():
                given[0].gamma.copy_(1 / (given.original.abs() + self.settings.epsilon))
        for given in self.weights.values():
            given.original.copy_(shrunk(given.original, self.rate * self.penalty * given[0].gamma))
        if step >= self.last:
            self.finish()

    @torch.no_grad()
    def finish(self) -> None:
        """Mask what is 0, and the smallest of the rest where more than the density is left."""
        if self.zeroed is not None:
            return
        sizes = [given.original.abs() for given in self.weights.values()]
        total, left = sum(size.numel() for size in sizes), sum(int(size.count_nonzero()) for size in sizes)
        self.zeroed = 1 - left / total
        count = min(int(self.settings.density * total), left)
        self.keep(dict(zip(self.weights, top(sizes, count), strict=True)))

    def density(self) -> float:
        given = self.weights.values()
        left = sum(int(((one.original != 0) & one[0].mask).sum()) for one in given)
        return left / sum(one.original.numel() for one in given)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"zeroed": self.zeroed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.zeroed = state["zeroed"]

    def chosen(self) -> str:
        return f"the largest of all layers after a penalty of λ = {self.penalty:.3g} had brought {self.zeroed:.1%} to 0"


def shrunk(weight: Tensor, by: Tensor) -> Tensor:
    """The proximal step of Σ by |w|: every weight comes nearer to 0, and stops there."""
    return weight.sign() * (weight.abs() - by).clamp(min=0)
