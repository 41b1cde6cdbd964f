"""Movement pruning: weights that move towards 0 while they are trained go, whatever their size.

Sanh, Wolf and Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020. A weight W has a score S and is used as
W' = W ⊙ M(S). The gradient goes straight through the mask, ∂L/∂S = ∂L/∂W' ⊙ W, so that S sums up -∂L/∂W' W: it grows
where a weight moves away from 0. Hard: the share v of each matrix with the largest scores stays. Soft: what stays has
σ(S) > τ, and λ times the mean of σ(S) is added to the loss; λ grows in proportion to τ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ..base import Context, register
from .masks import Masked, Pruning, ScheduleSettings, kept_label, largest, maps_of, parametrized, top

PUBLISHED_RATE = 1e-2
TRAVEL = 12
"""What the rate times the steps is at least, so that under a falling rate scores can go well beyond logit(τ)."""
LEAST = 0.005
"""Share of each tensor of scores that stays above every threshold, as published."""


class ScoredSettings(ScheduleSettings):
    """How scores say what stays."""

    begin: float = Field(0.1, ge=0, le=1, description="share of the steps after which weights begin to go")
    end: float = Field(0.8, gt=0, le=1, description="share of the steps after which the schedule is at its end")
    density: float | None = Field(None, gt=0, lt=1, description="hard: share of the weights that stays")
    penalty: float | None = Field(
        None,
        gt=0,
        description="soft, in the place of density: λ at the end, the weight of the mean of σ(S) in the loss",
    )
    threshold: float = Field(0.1, gt=0, lt=0.5, description="soft: τ at the end, above which σ(S) keeps a weight")
    score_learning_rate: float | None = Field(
        None, gt=0, description="of the scores, which start at 0; none: 0.01 or, in short trainings, 12 / steps"
    )

    @property
    def label(self) -> str:
        return kept_label(self.name, self.density)


class MovementSettings(ScoredSettings):
    """Settings of movement."""

    name: Literal["movement"] = "movement"


class Scored(Masked):
    """A weight times its mask, which passes its gradient on to scores (Bengio et al., 2013: straight-through).

    A score is that of a block of weights, of (rows, columns); blocks at the edge may be smaller. transposed: the scores
    are shared with a matrix whose rows are this one's columns.
    """

    def __init__(self, weight: Tensor, scores: nn.Parameter, block: tuple[int, int], transposed: bool = False) -> None:
        super().__init__(weight)
        self.scores, self.block, self.transposed = scores, block, transposed

    def forward(self, weight: Tensor) -> Tensor:
        scores = self.spread(self.scores)
        return weight * (self.mask + (scores - scores.detach()))

    def keep(self, kept: Tensor) -> None:
        """Set the mask: kept says of each score whether its weights stay."""
        self.mask.copy_(self.spread(kept))

    def spread(self, values: Tensor) -> Tensor:
        """Values of blocks -> of weights."""
        values = values.T if self.transposed else values
        for dimension, (size, wanted) in enumerate(zip(self.block, self.mask.shape, strict=True)):
            if values.shape[dimension] != wanted:
                values = values.repeat_interleave(size, dimension).narrow(dimension, 0, wanted)
        return values


class ScorePruning(Pruning):
    """A method that learns by scores what stays."""

    scores: dict[str, list[Scored]]
    """By name, the masks of each tensor of scores."""

    def __init__(self, settings: Any, context: Context) -> None:
        self.step = 0
        super().__init__(settings, context)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if (settings.density is None) == (settings.penalty is None):
            raise TrimformerError(
                f"The method {cls.name} needs either a density, the share that stays, or a penalty, by which it is "
                "learned how much stays: give one of them."
            )

    def options(self) -> dict[str, Any]:
        rate = self.settings.score_learning_rate or max(PUBLISHED_RATE, TRAVEL / self.context.steps)
        return {"apart": [masks[0].scores for masks in self.scores.values()], "apart_rate": rate}

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        if self.settings.penalty is None:
            return super().micro_step(batch, share)
        with self.clock("step"):
            loss, penalty = self.objective(self.networks["model"], batch), self.penalty()
            self.networks["model"].backward(loss + penalty, share)
        return {"loss": loss.item(), "penalty": penalty.item()}

    def penalty(self) -> Tensor:
        """λ τ_t / τ times the mean over matrices of the mean of σ(S)."""
        weight = self.settings.penalty * self.threshold() / self.settings.threshold
        return weight * torch.stack([masks[0].scores.sigmoid().mean() for masks in self.scores.values()]).mean()

    def threshold(self) -> float:
        """τ after the steps so far."""
        found: float = self.settings.at(self.step / self.context.steps, 0.0, self.settings.threshold)
        return found

    @torch.no_grad()
    def prune(self, step: int) -> None:
        self.step = step
        if self.settings.density is None:
            kept = {name: above(masks[0].scores, self.threshold()) for name, masks in self.scores.items()}
        else:
            share = self.settings.at(step / self.context.steps, 1.0, self.settings.density)
            kept = {}
            for group in self.rivals():
                chosen = largest([self.scores[name][0].scores for name in group], share)
                kept |= dict(zip(group, chosen, strict=True))
        for name, masks in self.scores.items():
            for mask in masks:
                mask.keep(kept[name])

    def rivals(self) -> list[list[str]]:
        """Names of the scores that compete for what stays."""
        return [[name] for name in self.scores]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.step = state["step"]


@register
class Movement(ScorePruning):
    """Train the weights of all linear maps of the layers together with a score for each."""

    name = "movement"
    Settings = MovementSettings
    example = {"density": 0.5}  # noqa: RUF012  (never written to)

    def put(self, settings: Any, model: TrimformerWithHead) -> dict[str, Any]:
        weights = {}
        for name, module in maps_of(model.encoder.layers).items():
            scores = nn.Parameter(torch.zeros_like(module.weight))
            weights[name] = parametrized(module, Scored(module.weight, scores, (1, 1)))
        self.scores = {name: [parametrizations[0]] for name, parametrizations in weights.items()}
        return weights

    def chosen(self) -> str:
        if self.settings.density is None:
            return f"those whose score is above the threshold of {self.settings.threshold:g}"
        return "those of each matrix with the largest scores"


def above(scores: Tensor, threshold: float) -> Tensor:
    """Where σ(S) > τ; where that is less than 0.5 % of the scores, so many of the largest ones."""
    kept = scores.sigmoid() > threshold
    least = math.ceil(LEAST * scores.numel())
    if int(kept.sum()) >= least:
        return kept
    return top([scores], least)[0]
