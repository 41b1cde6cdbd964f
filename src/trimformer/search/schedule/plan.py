"""The plan: how the time of a search is shared out before any of it is spent."""

from __future__ import annotations

import dataclasses
import math

from ...report.numbers import duration

DENSE = 0.4
"""The most of the time that the dense model's training gets, so that there is some left to make it smaller."""
FILES = 0.1
"""Files of the dense model beside the first two are made while they have not taken more than this."""
LOOKING = 0.3
"""Of what is left after the dense model, for finding candidates; where nothing is trained, for all but the ending."""
ENDING = 0.25
"""For comparing, confirming and testing, until it is known how long files take here."""

UNSPENT = 0.1
"""Share of the time budget that may be left over while there is something to train."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Seconds for each part of a search, of all that are left; epochs: of the dense model, and how many were asked for.

    Infinite seconds are no limit.
    """

    dense: float
    files: float
    candidates: float
    training: float
    ending: float
    epochs: float
    asked: float

    def __str__(self) -> str:
        cut = f" ({self.epochs:.2g} of {self.asked:g} epochs)" if self.epochs < self.asked else ""
        parts = {
            f"the dense model{cut}": self.dense,
            "its files": self.files,
            "finding candidates": self.candidates,
            "training them": self.training,
            "comparing and testing": self.ending,
        }
        shares = ", ".join(f"{duration(seconds)} for {part}" for part, seconds in parts.items() if seconds)
        return f"Plan: {shares}."

    @property
    def notes(self) -> list[str]:
        """What people should know of the dense model that comes of it."""
        if self.epochs >= self.asked:
            return []
        return [
            f"The dense model got {self.epochs:.2g} of its {self.asked:g} epochs in the time there was: it could be "
            "better than it is here."
        ]


def share_out(left: float, dense: float, *, trains: bool) -> dict[str, float]:
    """Seconds by the fields of a plan. dense: what its training takes. trains: whether candidates are trained."""
    if math.isinf(left):
        return dict.fromkeys(("dense", "files", "candidates", "training", "ending"), left)
    rest = max(0.0, left - dense)
    files, ending = FILES * rest, ENDING * rest
    candidates = LOOKING * rest if trains else rest - files - ending
    training = rest - files - ending - candidates if trains else 0.0
    return {"dense": dense, "files": files, "candidates": candidates, "training": training, "ending": ending}
