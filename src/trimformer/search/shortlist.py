"""The shortlist: the few combinations that are worth training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..report.bench_picture import frontier
from .predictor import Predicted

MOST = 8
"""Combinations that are trained."""


def promising(predicted: Sequence[Predicted], fast: float, count: int) -> list[Predicted]:
    """At most ``count`` of those that no other beats in both time and cost, spread over the range of times.

    The first that is given, the dense model, is one that can beat others, and needs no training. fast: milliseconds;
    half of the places are for those that take no longer, the others for slower ones, should no fast one be good enough;
    what either leaves the other gets.
    """
    best = [predicted[index] for index in frontier([(1 / one.ms, -one.cost) for one in predicted])]
    ordered = sorted((one for one in best if one is not predicted[0]), key=lambda one: one.ms)
    wanted = [one for one in ordered if one.ms <= fast]
    others = ordered[len(wanted) :]
    slower = min(len(others), max(count // 2, count - len(wanted)))
    return [*spread(wanted, count - slower), *spread(others, slower)]


def spread(predicted: Sequence[Predicted], count: int) -> list[Predicted]:
    """At most ``count`` of these, given by rising time: those nearest to equal steps of time.

    Equal factors would put most of them where nothing is left that training could repair.
    """
    if len(predicted) <= count:
        return list(predicted)
    left = list(predicted)
    chosen = []
    for target in np.linspace(predicted[0].ms, predicted[-1].ms, count):
        nearest = min(left, key=lambda one: abs(one.ms - target))
        left.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen, key=lambda one: one.ms)
