"""The shortlist: the combinations that are worth a look, which is next, and which of them are worth training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from ..report.bench_picture import frontier
from .predictor import Predicted
from .schedule.halving import Point, inside, order

MOST = 24
"""Combinations that may be looked at: trimmed, fitted and scored."""
LOOKS = 12
"""Looks at the most; by then it is known which is the fastest that keeps the budget without training."""
TRAINED = 4
"""Combinations that are trained at first, at the most."""
EXPORTED = 2
"""Combinations that are exported where nothing is trained, should the fastest not be confirmed."""
WON_BACK = 10
"""Training is taken to win back all but a tenth of what is lost without it."""


class Priced(Protocol):
    """What has a price: the less, the better."""

    @property
    def price(self) -> float: ...


T = TypeVar("T", bound=Priced)


def promising(predicted: Sequence[Predicted], wanted: float, count: int) -> list[Predicted]:
    """At most ``count`` of those that no other beats in both price and cost, spread over the range of prices.

    The first that is given, the dense model, is one that can beat others, and needs no training. wanted: a price; half
    of the places are for those that have no higher one, the others for dearer ones, should no cheap one be good enough;
    what either leaves the other gets.
    """
    best = [predicted[index] for index in frontier([(1 / one.price, -one.cost) for one in predicted])]
    ordered = sorted((one for one in best if one is not predicted[0]), key=lambda one: one.price)
    cheap = [one for one in ordered if one.price <= wanted]
    others = ordered[len(cheap) :]
    dearer = min(len(others), max(count // 2, count - len(cheap)))
    return [*spread(cheap, count - dearer), *spread(others, dearer)]


def left_behind(points: Sequence[Point], max_drop: float, done: Sequence[float]) -> Point | None:
    """Who is trained on where time is left: the likeliest of those that may come to be the fastest inside the budget.

    done: the share of all epochs that were trained before each rung.
    """
    best = min((one.price for one in points if inside(one, max_drop)), default=math.inf)

    def able(one: Point) -> bool:
        return one.rungs < len(done) and inside(one, max_drop / max(done[one.rungs], 1 / WON_BACK))

    return max((one for one in points if one.price < best and able(one)), key=lambda one: one.price, default=None)


def worth_exporting(points: Sequence[Point], max_drop: float) -> list[Point]:
    """The fastest inside the budget where nothing is trained; that which loses least where none is."""
    fits = [one for one in order(points, max_drop) if inside(one, max_drop)]
    return fits[:EXPORTED] or order(points, max_drop)[:1]


def spread(predicted: Sequence[T], count: int) -> list[T]:
    """At most ``count`` of these, given by rising price: those nearest to equal steps of it, one alone to the middle.

    Equal factors would put most of them where nothing is left that training could repair.
    """
    if len(predicted) <= count:
        return list(predicted)
    left = list(predicted)
    chosen = []
    first, last = predicted[0].price, predicted[-1].price
    for target in np.linspace(first, last, count) if count > 1 else [(first + last) / 2]:
        nearest = min(left, key=lambda one: abs(one.price - target))
        left.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen, key=lambda one: one.price)


def next_look(count: int, found: Mapping[int, bool]) -> int | None:
    """Which of ``count`` combinations, the cheapest first, to look at next.

    None where no cheaper one is left, and after ``LOOKS``.

    found: whether those looked at keep the budget. It is looked for the cheapest that does, in halves: the dearer, the
    likelier.
    """
    best = min((index for index, fits in found.items() if fits), default=count)
    left = [index for index in range(best) if index not in found]
    if not left or len(found) == LOOKS:
        return None
    middle = (max((index for index in found if index < best), default=-1) + best) / 2
    return min(left, key=lambda index: abs(index - middle))


def worth_training(points: Sequence[Point], max_drop: float, most: int = TRAINED) -> list[Point]:
    """At most so many that training may make the fastest inside the budget: first the fastest inside by now, if any is.

    The others are faster than that one, and lose little enough for training to win it back; at equal steps of time.
    What those lose that could not be fitted says nothing of that.
    """
    ordered = sorted(points, key=lambda one: one.price)
    best = next((one for one in ordered if inside(one, max_drop)), None)
    faster = ordered if best is None else ordered[: ordered.index(best)]
    able = [one for one in faster if inside(one, WON_BACK * max_drop) or not one.fitted]
    if best is None and not able:
        able = order(faster, max_drop)[:1]
    count = most - (best is not None)
    return [*([] if best is None else [best]), *spread(able, count)]
