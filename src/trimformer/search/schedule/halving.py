"""Successive halving: all for a small share of the epochs, the promising half for twice as many, and so on.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from ...errors import TrimformerError
from ...tasks.metric import within

FINALISTS = 2


class Measured(Protocol):
    """What can be ordered: its price, and its drop in the budget's unit; None before it was scored."""

    @property
    def price(self) -> float: ...

    @property
    def drop(self) -> float | None: ...


M = TypeVar("M", bound=Measured)


@dataclasses.dataclass(frozen=True)
class Point:
    """A candidate and how far its training is.

    removed: what was, for people. price: what is to be small, milliseconds of a pass as they are predicted, or bytes.
    folder: of its weights. score, drop: of these on the selection split, the drop below the dense model in the budget's
    unit; None before they were scored. fitted: whether what is left was fitted to the dense model in closed form.
    epochs, rungs: that it was trained for, in all. layers: that a text of the selection split goes through, a mean;
    None: all, because there are no exits.
    """

    name: str
    removed: str
    price: float
    folder: str
    score: float | None = None
    drop: float | None = None
    fitted: bool = False
    epochs: float = 0.0
    rungs: int = 0
    layers: float | None = None

    def __post_init__(self) -> None:
        for name in (self.name, self.folder):
            if not re.fullmatch(r"[\w-]*", name):
                raise TrimformerError(
                    f"{name!r} names no model of a search: its work files were changed, start it anew."
                )


def rungs(count: int) -> list[int]:
    """How many are trained in each rung, until two are left."""
    sizes = [count] if count else []
    while sizes and sizes[-1] > FINALISTS:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def done_before(rung: int, count: int) -> float:
    """The share of all epochs that the rungs before this one have."""
    return (2**rung - 1) / (2**count - 1)


def epochs_of(rung: int, count: int, total: float) -> float:
    """The epochs of one of ``count`` rungs, each twice the one before, which are ``total`` together."""
    share: float = 2**rung / (2**count - 1)
    return total * share


def promoted(found: Sequence[M], size: int, max_drop: float, done: float) -> list[M]:
    """Choose ``size`` of them for the next rung. done: share of all the epochs that they have been trained for.

    In turns the one that is best by now, and the fastest that may still come to be inside the budget: drops are taken
    to fall as epochs rise. By what they lose after a short training alone, only the slowest would ever get to the end.
    """
    able = max_drop / done if done else math.inf
    queues = [order(found, max_drop), order(found, able)]
    chosen: list[M] = []
    for queue in itertools.islice(itertools.cycle(queues), min(size, len(found))):
        chosen.append(next(one for one in queue if one not in chosen))
    return chosen


def better(before: M, after: M, max_drop: float) -> M:
    """What is kept of a candidate after a training: the weights before it where only they are inside the budget.

    A few steps do more harm than good to what was fitted, and the next training begins there again.
    """
    return before if inside(before, max_drop) and not inside(after, max_drop) else after


def inside(one: Measured, max_drop: float) -> bool:
    """Whether it loses little enough."""
    return one.drop is not None and within(one.drop, max_drop)


def order(found: Sequence[M], max_drop: float) -> list[M]:
    """Those inside the budget first, the fastest of them first; then the others, the smallest drop first."""

    def key(one: M) -> tuple[bool, float]:
        if inside(one, max_drop):
            return False, one.price
        return True, float("inf") if one.drop is None else one.drop

    return sorted(found, key=key)
