"""An architecture under search: for each place the shares of its candidates, and how one of each is chosen."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ...training.network import Network
from ..base import Context

PUBLISHED_RATE = 3e-4
PUBLISHED_BETAS = (0.5, 0.999)
TRAVEL = 10
"""How far an α gets in a stage if it always goes one way: e^10 is the ratio of two shares that then lie far apart."""
ROUNDING = 1e4
"""Costs are counted in parts of the dense cost as small as this when a choice is made."""
SLACK = 1 / ROUNDING
"""What a choice may cost above a limit."""
STEP = 0.005
"""By how much at least the limit is lowered where costs do not add up."""


class Architecture(nn.Module):
    """For each place its logits α, (candidates,), the first being what was there: -> their softmax.

    first: the share with which the first begins; None: as large as the others'.
    """

    def __init__(self, counts: Sequence[int], first: float | None = None) -> None:
        super().__init__()
        self.logits = nn.ParameterList(map(torch.zeros, counts))
        if first is not None:
            for own in (own for own in self.logits if len(own) > 1):
                own.data[0] = math.log(first * (len(own) - 1) / (1 - first))

    def forward(self) -> list[Tensor]:
        return [logits.softmax(0) for logits in self.logits]

    @torch.no_grad()
    def shares(self) -> list[Tensor]:
        """The shares without a gradient, on the CPU."""
        return [share.cpu() for share in self()]


def network_of(architecture: Architecture, context: Context, rate: float | None) -> Network:
    """It under training, with the published Adam but for the decay, which would draw all shares together.

    rate: None: 10 / steps of the stage, at least the published 3e-4, which is meant for some 20,000 steps.
    """
    rate = rate or max(PUBLISHED_RATE, TRAVEL / context.steps)
    return context.network(
        "alphas", architecture, learning_rate=rate, schedule=False, decay=False, betas=PUBLISHED_BETAS
    )


def most(shares: Sequence[Tensor]) -> list[int]:
    """The candidate with the largest share at each place, of equals the first."""
    return [int(own.argmax()) for own in shares]


def within(shares: Sequence[Tensor], cost: Callable[[Sequence[int]], float], limit: float) -> list[int]:
    """The choice with the largest product of shares among those that cost at most ``limit``; if none, the cheapest.

    cost: of a choice, a share of the dense cost. What one place adds is taken as if the others had their first
    candidate; where that is not all, the limit is lowered until the cost of the choice itself is within.
    """
    first = [0] * len(shares)
    base = cost(first)
    prices = [
        [cost([*first[:place], index, *first[place + 1 :]]) - base for index in range(len(own))]
        for place, own in enumerate(shares)
    ]
    scores, room = [own.log().tolist() for own in shares], limit - base
    cheapest = _best(scores, prices, -math.inf)
    while True:
        choice = _best(scores, prices, room)
        over = cost(choice) - limit
        if over <= SLACK or choice == cheapest:
            return choice
        room -= max(over, STEP)


def within_for_each(shares: Sequence[Tensor], cost: Callable[[Sequence[int]], float], limit: float) -> list[int]:
    """As :func:`within`, for each candidate of the last place, on which depends what all others cost."""
    *others, last = shares
    able: list[tuple[float, float, list[int]]] = []
    for index, share in enumerate(last.log().tolist()):
        chosen = [*within(others, functools.partial(_cost_with, cost, index), limit), index]
        score = sum(float(own[one].log()) for own, one in zip(others, chosen, strict=False)) + share
        able.append((cost(chosen), score, chosen))
    inside = [one for one in able if one[0] <= limit + SLACK]
    return max(inside, key=lambda one: one[1])[2] if inside else min(able)[2]


def _cost_with(cost: Callable[[Sequence[int]], float], last: int, others: Sequence[int]) -> float:
    return cost([*others, last])


def _best(scores: Sequence[Sequence[float]], prices: Sequence[Sequence[float]], room: float) -> list[int]:
    """The highest sum of scores whose sum of prices is at most ``room``; the cheapest choice where there is none."""
    front: list[tuple[int, float, tuple[int, ...]]] = [(0, 0.0, ())]  # the higher the price, the higher the score
    for own_scores, own_prices in zip(scores, prices, strict=True):
        every = sorted(
            (price + round(own_price * ROUNDING), -(score + own_score), (*chosen, index))
            for price, score, chosen in front
            for index, (own_score, own_price) in enumerate(zip(own_scores, own_prices, strict=True))
        )
        front = []
        for price, negative, chosen in every:
            if not front or -negative > front[-1][1]:
                front.append((price, -negative, chosen))
    fitting = [chosen for price, _, chosen in front if price <= room * ROUNDING + len(scores) / 2]
    return list(fitting[-1] if fitting else front[0][2])
