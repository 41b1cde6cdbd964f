"""Which way a metric is better, and in which unit it is lost."""

from __future__ import annotations

import dataclasses
import math

CLASS_F1 = "f1:"
"""Before the name of a class: the F1 of that class alone."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """What must be known of a metric to choose by it.

    unit: of a drop, as words after the number. Shares and correlations are lost in points, their hundredths; errors,
    of which lower values are better, grow in their own unit.
    """

    name: str
    lower_is_better: bool = False
    unit: str = "points"

    @property
    def factor(self) -> int:
        """How many of the unit the metric's own 1 is."""
        return 100 if self.unit == "points" else 1

    def rank(self, value: float) -> float:
        """A number that is higher where the metric is better."""
        return -value if self.lower_is_better else value

    def drop(self, difference: float) -> float:
        """By how much a model is worse than another one, in the unit. difference: its metric minus the other's."""
        return 0.0 - self.factor * self.rank(difference)  # never a negative zero

    def after(self, value: float, drop: float) -> float:
        """The metric of what is worse by this drop."""
        return value - self.rank(drop) / self.factor

    def decimals(self, value: float, few: int = 2) -> int:
        """Digits behind the point of what is shown: ``few``, and of an error as many as its size needs."""
        if not self.lower_is_better or not math.isfinite(value) or value == 0:
            return few
        size = math.floor(math.log10(abs(value)))
        return min(3, max(0, 5 - size)) if size >= -2 else 1 - size

    def lost(self, drop: float, unit: bool = True) -> str:
        """A drop in words; a gain is below zero."""
        said = f"{drop:.{self.decimals(drop)}f}".replace("-", "−")
        return f"{said} {self.unit}" if unit else said

    def budget(self, drop: float) -> str:
        """The largest drop that is allowed, in words."""
        return f"{drop:g} {self.unit.removesuffix('s') if drop == 1 else self.unit}"

    def small(self, value: float) -> float:
        """The drop that is allowed where nobody says another one: half a point, or half a percent of an error."""
        return float(f"{0.005 * value:.2g}") if self.lower_is_better else 0.5


_ERRORS = {
    "mae": "in the labels' unit",
    "rmse": "in the labels' unit",
    "mse": "in the square of the labels' unit",
    "loss": "nats",
}


def metric(name: str) -> Metric:
    """The metric of this name; of what is not an error higher values are better."""
    return Metric(name, True, _ERRORS[name]) if name in _ERRORS else Metric(name)


def within(drop: float, max_drop: float) -> bool:
    """Whether a drop keeps the budget; one as large as it does, though differences of scores end in odd last bits."""
    return drop <= max_drop + 1e-9
