"""What a search is for: what is to be small in the end, and what becomes of the models that were found."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from ...files import atomic_folder
from ...measure.significance import PairedTest, paired_test
from ...methods import Context
from ...pipeline.inputs import Inputs
from ...pipeline.stages import StageResult
from ...tasks.balance import balance_notes
from ...tasks.data import Task
from ...tasks.outcome import Outcome
from ..confirmation import Confirmation, confirmation
from ..measurement import Measurement
from ..output import copy_model
from ..predictor import Prices
from ..schedule.estimates import Estimates
from ..schedule.halving import Point
from ..schedule.plan import Plan
from ..schema import AutopilotReport, SizeReport
from ..sensitivity import Sensitivity
from ..training import Ground, Trainer

ENOUGH = (
    "The time budget was not needed as a whole: nothing that might have become the best inside the budget was left to "
    "look at or to train."
)


@dataclasses.dataclass(frozen=True)
class Tested:
    """What was chosen against the dense model on the validation rows, and what to be warned of in the answers.

    scores: of the dense model and of what was chosen.
    """

    test: PairedTest
    scores: tuple[float, float]
    balance: list[str]


class Goal(ABC):
    """What a search is for. search: that it belongs to, whose folder keeps every step."""

    def __init__(self, search: Trainer) -> None:
        self.search, self.folder, self.settings = search, search.folder, search.settings

    @abstractmethod
    def measured(self, inputs: Inputs, dense: StageResult, plan: Plan) -> list[Measurement]:
        """The dense model under what runs here, a reference first; PyTorch is among it."""

    @abstractmethod
    def estimates(self, ground: Ground) -> Estimates:
        """The seconds that what is still to come takes."""

    @abstractmethod
    def prices(self, context: Context, found: Sensitivity, ground: Ground) -> Prices:
        """What knows the price of each combination, in proportion to :meth:`dense_price`."""

    @abstractmethod
    def dense_price(self, ground: Ground) -> float:
        """The price of the dense model, which what is found has to beat."""

    @abstractmethod
    def wanted(self, ground: Ground) -> float:
        """The price that half of the models tried are to have at most; infinite where nothing is asked for."""

    @abstractmethod
    def words(self, price: float) -> str:
        """A predicted price for people."""

    @abstractmethod
    def write_best(self, name: str, folder: Path, place: Path, ground: Ground) -> None:
        """Write the best model by now, which has this name and lies in ``folder``, to a place, for who stops here."""

    @abstractmethod
    def finish(
        self, points: list[Point], ground: Ground, looked: Sequence[Point], *, enough: bool
    ) -> AutopilotReport | SizeReport:
        """Choose, confirm, test, report, and leave everything in the folder.

        looked: all before training. enough: whether more time would not have been used for more candidates.
        """

    def model(self, point: Point) -> Path:
        """The folder of a point's model."""
        return self.folder.work / point.folder / "model"

    def leave(self, chosen: Path, points: Sequence[Point]) -> None:
        """Copy the chosen model and those of all points: where this is cut, the run can still be resumed."""
        copies = {self.folder.path / "model": chosen}
        copies |= {self.folder.path / "points" / point.name / "model": self.model(point) for point in points}
        for target, folder in copies.items():
            with atomic_folder(target) as temporary:
                copy_model(folder, temporary)

    def confirmed(
        self, name: str, backend: str, task: Task, before: Outcome, after: Outcome, level: float | None
    ) -> Confirmation:
        """What answers on the confirmation rows say of a model. level: see :func:`step_down`."""
        sure, resamples = level if self.settings.sure else None, self.search.recipe.measure.resamples
        return confirmation(
            name, backend, task.metric, before, after, self.settings.max_drop, sure=sure, resamples=resamples
        )

    def compared(self, task: Task, before: Outcome, after: Outcome, called: str) -> Tested:
        """The test of what was chosen. before, after: answers on the validation rows, of the dense model first."""
        test = paired_test(before, after, self.search.recipe.measure.resamples)
        notes = balance_notes(task, {"The dense model": before, called: after}, "validation")
        first, second = (found.scores[task.metrics[0]] for found in (before, after))
        return Tested(test, (first, second), notes)
