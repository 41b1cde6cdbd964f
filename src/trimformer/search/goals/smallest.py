"""The smallest model inside the budget: models from which parts were removed, written in fewer bits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from ...console import console
from ...encoder.checkpoints.load import load_with_head
from ...encoder.model.heads import TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ...measure.bench.workload import own_lengths
from ...measure.cost import cost
from ...methods import Context
from ...methods.base import DISTILLED
from ...pipeline.inputs import Inputs
from ...pipeline.stages import StageResult
from ...report import numbers
from ...tasks.encoding.encoded import Encoded
from ...tasks.outcome import Outcome, outcome
from ...training.evaluate import predict_logits
from ...training.settings import ObjectiveSettings
from ..confirmation import Confirmation, step_down
from ..measurement import DENSE, TIMED, Measurement, measurements_of, scores_of, variants_of
from ..output import copy_model
from ..predictor import Prices
from ..schedule.estimates import Estimates
from ..schedule.halving import Point, inside
from ..schedule.plan import Plan
from ..schema import SizeReport
from ..sensitivity import Sensitivity
from ..shortlist import next_look
from ..training import Ground, stage_of
from .base import Goal, Tested
from .forms import FORMS, Form, bytes_beside_weights, bytes_in_form, bytes_of
from .size_report import assemble, write

WORDS = "vocabulary"
"""The method that takes the rows of words which the training rows do not use."""
EARLY = 3
"""Forms of each of the best models that there should be time for, each as long as measuring the dense model takes."""
ENDING = 3
"""Confirming and testing take as long as so many measurements of the dense model."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model in a form that it has not been written in yet. bytes: of its folder, computed; outliers come on top."""

    point: Point
    before: StageResult
    form: Form
    bytes: int

    @property
    def name(self) -> str:
        return f"{self.point.name}-{self.form.name}"


class WeightBytes:
    """The bytes of the weights in fp32 by the configuration."""

    def __init__(self, head: type[TrimformerWithHead]) -> None:
        self.head = head

    def predict(self, layers: TrimformerConfig) -> float:
        return float(cost(layers, head=self.head).bytes)


class Smallest(Goal):
    """The price of a model is the bytes of its folder."""

    def measured(self, inputs: Inputs, dense: StageResult, plan: Plan) -> list[Measurement]:
        """In PyTorch alone."""
        threads = self.search.threads
        place = self.folder.work / "exports"
        variants = variants_of({DENSE: dense.model_folder}, ["torch"], place, threads, inputs.train)
        scores = scores_of(variants, inputs.task, inputs.selection)
        workload = own_lengths(inputs.selection, [1])[-1].fewer(TIMED)
        return measurements_of(variants, scores, workload, threads, inputs.task.metric)

    def estimates(self, ground: Ground) -> Estimates:
        return Estimates(
            seconds=next(step["seconds"] for step in self.folder.steps if step["name"] == "files"),
            backends=1,
            files=EARLY,
            speed=ground.speed,
            selection=len(ground.inputs.selection),
            learned=len(ground.inputs.learned(DISTILLED)),
        )

    def prices(self, context: Context, found: Sensitivity, ground: Ground) -> Prices:
        return WeightBytes(type(context.model))

    def dense_price(self, ground: Ground) -> float:
        model = ground.dense.origin.model()
        return WeightBytes(type(model)).predict(model.config)

    def wanted(self, ground: Ground) -> float:
        return math.inf

    def words(self, price: float) -> str:
        return f"{numbers.size(price)} in fp32"

    def write_best(self, name: str, folder: Path, place: Path, ground: Ground) -> None:
        copy_model(folder, place / "model")

    def finish(self, points: list[Point], ground: Ground, looked: Sequence[Point]) -> SizeReport:
        dense = Point(DENSE, "nothing", bytes_of(ground.dense.model_folder), "", ground.exact.score, 0.0)
        plain = [dataclasses.replace(point, price=bytes_of(self.model(point))) for point in points]
        if why := self._all_words(dense, ground):
            ground.inputs.notes.append(f"All rows of the word table stay: {why}")
        names = {point.name for point in points}
        others = [point for point in looked if point.name not in names]
        written = self.folder.step("forms", lambda: self._written([dense, *plain, *others], ground))
        every = [*plain, *written]
        confirmed = self.folder.step("confirm", lambda: self._confirm(dense, every, ground))
        chosen = next((point for point in every if point.name == confirmed[-1].name), dense)
        tested = self.folder.step("test", lambda: self._test(chosen, ground))
        self.leave(self._result(chosen, ground).model_folder, every)
        report = assemble(
            self.search.recipe, ground.inputs, dense, every, confirmed, chosen, tested, steps=self.folder.steps
        )
        write(report, self.folder.path)
        return report

    def _written(self, points: list[Point], ground: Ground) -> list[Point]:
        """Models in the forms that were looked at, by halves towards the smallest that keeps the budget.

        The dense model in the largest form comes first: it hardly loses anything, should no smaller one be confirmed.
        """

        def looked() -> Any:
            limit, seconds = self.settings.max_drop, self.estimates(ground).seconds
            able = [point for point in points if inside(point, limit)]
            every = sorted(self._candidates(able, ground), key=lambda one: one.bytes)
            index: int | None = [one.name for one in every].index(f"{DENSE}-{FORMS[-1].name}")
            found: dict[int, Point] = {}
            while index is not None and not (found and self.search.budget.left(ENDING * seconds) < seconds):
                found[index] = self._look(every[index], ground)
                index = next_look(len(every), {place: inside(one, limit) for place, one in found.items()})
            return [dataclasses.asdict(point) for point in found.values()]

        return cast(list[Point], self.folder.kept("forms", list[Point], looked))

    def _candidates(self, points: Sequence[Point], ground: Ground) -> Iterator[Candidate]:
        """Each model, with all words and with those of the training rows, in each form."""
        for point in points:
            whole = self._result(point, ground)
            bases = [(point, whole)]
            if not self._all_words(points[0], ground):
                bases.append(self._fewer_words(point, whole, ground))
            for base, before in bases:
                model, beside = load_with_head(before.model_folder), bytes_beside_weights(before.model_folder)
                for form in FORMS:
                    yield Candidate(base, before, form, beside + bytes_in_form(model, form))

    def _all_words(self, point: Point, ground: Ground) -> str:
        """Why no rows of the word table can go, as one model shows; empty: they can."""

        def tried() -> str:
            try:
                self._fewer_words(point, self._result(point, ground), ground)
            except TrimformerError as error:
                return str(error)
            return ""

        return str(self.folder.kept("all-words", str, tried))

    def _fewer_words(self, point: Point, before: StageResult, ground: Ground) -> tuple[Point, StageResult]:
        name = f"{point.name}-words"
        removed = _joined(point.removed, "rows of words that the training rows do not use")
        return dataclasses.replace(point, name=name, removed=removed), self._done(name, {"name": WORDS}, before, ground)

    def _look(self, one: Candidate, ground: Ground) -> Point:
        """Written, read again as whoever has the folder reads it, and scored on the selection rows."""
        result = self._done(one.name, one.form.method, one.before, ground)
        own = self._read(result, ground.inputs.selection, ground)
        score, drop = ground.scored(self._logits(result, own), own)
        price = bytes_of(result.model_folder)
        said = f"{one.name}: {numbers.size(price)}; loses {ground.inputs.task.metric.lost(drop)}"
        console.print(said, markup=False, soft_wrap=True)
        removed = _joined(one.point.removed, one.form.said)
        return dataclasses.replace(
            one.point, name=one.name, removed=removed, folder=one.name, price=price, score=score, drop=drop
        )

    def _done(self, name: str, method: Any, before: StageResult, ground: Ground) -> StageResult:
        """What a method that trains nothing makes of a model."""
        stage = stage_of(name, self.settings.training, ObjectiveSettings(), method=method)
        return self.search.stages.run(stage, 0, self.folder.work / name, [ground.dense, before])

    def _confirm(self, dense: Point, points: list[Point], ground: Ground) -> list[Confirmation]:
        """The models that were tried on the confirmation rows; the last one is taken."""

        def found() -> Any:
            rows = self.search.confirming
            before = self._answers(dense, rows, ground)

            def confirm(one: Point, level: float | None) -> Confirmation:
                return self.confirmed(
                    one.name, "torch", ground.inputs.task, before, self._answers(one, rows, ground), level
                )

            tried = step_down(points, dense, self.settings.max_drop, confirm)
            return [dataclasses.asdict(one) for one in tried]

        return cast(list[Confirmation], self.folder.kept("confirm", list[Confirmation], found))

    def _test(self, chosen: Point, ground: Ground) -> Tested:
        """The chosen model against the dense one on the validation rows, which are scored here for the first time."""

        def tested() -> Any:
            dense, rows = Point(DENSE, "", 0.0, ""), ground.inputs.validation
            before, after = (self._answers(one, rows, ground) for one in (dense, chosen))
            return dataclasses.asdict(self.compared(ground.inputs.task, before, after, "The chosen model"))

        return cast(Tested, self.folder.kept("test", Tested, tested))

    def _answers(self, point: Point, rows: Encoded, ground: Ground) -> Outcome:
        result = self._result(point, ground)
        own = self._read(result, rows, ground)
        return outcome(ground.inputs.task, own, self._logits(result, own))

    def _logits(self, result: StageResult, rows: Encoded) -> Any:
        model: Any = load_with_head(result.model_folder)
        return predict_logits(model.to(self.search.accelerator.device), rows)

    def _read(self, result: StageResult, rows: Encoded, ground: Ground) -> Encoded:
        """Rows as the tokenizer of a model encodes them."""
        tokenizer = result.origin.tokenizer()
        if tokenizer is None:
            return rows
        return dataclasses.replace(ground.inputs, tokenizer=tokenizer).encoded(rows.examples)

    def _result(self, point: Point, ground: Ground) -> StageResult:
        """What a point's last stage left; of the dense model its own."""
        return StageResult.read(point.name, self.folder.work / point.folder) if point.folder else ground.dense


def _joined(removed: str, more: str) -> str:
    return more if removed == "nothing" else f"{removed}, {more}"
