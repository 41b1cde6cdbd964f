"""Lottery tickets: train, mask a share of the smallest weights, go back to the start under the mask, and again.

Chen et al., "The Lottery Ticket Hypothesis for Pre-trained BERT Networks", 2020: in each round the model is trained
from θ₀, a tenth of the weights that are left goes by its size among all layers, and what is left is rewound to θ₀. The
head is not masked. A ticket wins where its training comes as far as that of the dense model.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...errors import TrimformerError
from ..base import Context, MethodSettings, Standard, register
from .masks import Pruning, kept_label, largest


class LotterySettings(MethodSettings):
    """Settings of lottery tickets."""

    name: Literal["lottery-ticket"] = "lottery-ticket"
    rounds: int = Field(7, ge=1, description="trainings after each of which weights go; one more follows for the rest")
    share: float = Field(0.1, gt=0, lt=1, description="share of the weights left that goes after each of them")

    @property
    def label(self) -> str:
        return kept_label(self.name, self.left(self.rounds))

    def left(self, rounds: int) -> float:
        """The share of the weights that is left after so many rounds."""
        return float((1 - self.share) ** rounds)


@register
class LotteryTicket(Pruning):
    """Train in rounds that all begin with the same weights, under masks that grow."""

    name = "lottery-ticket"
    Settings = LotterySettings
    example = {"rounds": 2}  # noqa: RUF012  (never written to)
    standard = Standard(start="pretrained", repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        self.total, trainings = context.steps, settings.rounds + 1
        if self.total < trainings:
            raise TrimformerError(
                f"{settings.rounds} rounds and the last training need {trainings} steps at least, but the stage has "
                f"{self.total}: raise epochs, or lower rounds."
            )
        # Each training has a warm-up and a decay of its own.
        super().__init__(settings, dataclasses.replace(context, steps=-(-self.total // trainings)))
        self.start = copy.deepcopy(self.networks["model"].state_dict())
        self.round = 0

    def prune(self, step: int) -> None:
        if step < self.total and step * (self.settings.rounds + 1) >= (self.round + 1) * self.total:
            self.round += 1
            masks = self.masks(self.round)
            # The weights of the start, without moments, and the first learning rate.
            self.networks["model"].load_state_dict(copy.deepcopy(self.start))
            self.keep(masks)

    def finish(self) -> None:
        """Where the training was cut short, what is to go goes now."""
        self.keep(self.masks(self.settings.rounds))

    @torch.no_grad()
    def masks(self, rounds: int) -> dict[str, Tensor]:
        """Those under which the largest stay of the weights that are left, as many as after so many rounds."""
        sizes = [given.original.abs().where(given[0].mask, -1) for given in self.weights.values()]
        return dict(zip(self.weights, largest(sizes, self.settings.left(rounds)), strict=True))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"round": self.round}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.round = state["round"]

    def chosen(self) -> str:
        return f"the largest of all layers after {self.round} of {self.settings.rounds} rounds"
