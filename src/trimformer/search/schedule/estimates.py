"""Seconds that what is still to come of a search takes, from what its dense model took."""

from __future__ import annotations

import dataclasses

from .halving import FINALISTS

FASTEST = 2
"""So many models are exported in all precisions, so that there is another one where the first is not confirmed."""
EXITS = 2
"""So many models get exits: the fastest inside the budget, and the dense one."""
SEGMENTS = 2
"""Making the file of a model with exits, one for each segment, and scoring it takes as long as so many others."""
HEADS = 1 / 5
"""Learning of exits, in batches and without a pass backwards, is given so much of the time of a pass one by one."""
LOOK = 0.5
"""Nothing is looked at in less than this share of the time that the dense model's files took."""
PASSES = 3
"""Training on a text takes about as long as so many passes one by one."""
SCORINGS = 2
"""Nothing is trained in less time than so many scorings of the selection rows take one by one."""


@dataclasses.dataclass(frozen=True)
class Estimates:
    """What the dense model took.

    seconds: for making, scoring and timing it under all back-ends. backends, files: how many of these there were, and
    how many of them were files. speed: texts in a second, one by one. selection, learned: rows that are scored, and
    that are learned from. exits: models that get exits.
    """

    seconds: float
    backends: int
    files: int
    speed: float
    selection: int
    learned: int
    exits: int = 0

    @property
    def look(self) -> float:
        """The least that a look at candidates takes."""
        return LOOK * self.seconds

    @property
    def training(self) -> float:
        """The shortest training that is worth its scoring."""
        return SCORINGS * self.selection / self.speed

    def trainings(self, seconds: float, most: int) -> int:
        """How many candidates there is time to train for half an epoch each, of two at the least."""
        half = PASSES / 2 * self.learned / self.speed
        return int(min(most, max(FINALISTS, seconds / half)))

    def measuring(self, points: int) -> float:
        """Comparing, confirming and testing: the dense model's files tell what one takes.

        Each of the fastest is made in all of them, the other points in fp32; scoring on the other rows is like three.
        """
        fastest = max(1, min(points, FASTEST))
        files = fastest * self.files + max(0, points - fastest) + 3 + SEGMENTS * self.exits
        return self.seconds * files / self.backends

    def ending(self, points: int) -> float:
        """What follows the candidates: learning of exits, and measuring."""
        return self.measuring(points) + self.exits * HEADS * self.learned / self.speed
