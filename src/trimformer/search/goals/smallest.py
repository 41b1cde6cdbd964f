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
from ...methods.tokens.vocabulary import Vocabulary, with_rows
from ...pipeline.inputs import Inputs
from ...pipeline.stages import StageResult
from ...recipe.settings import StageSettings
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
from .base import ENOUGH, Goal, Tested
from .forms import FORMS, Form, bytes_beside_weights, bytes_in_form, bytes_of, bytes_of_tokenizer
from .size_report import assemble, write

WORDS = "vocabulary"
"""The method that takes the rows of words which the training rows do not use."""
EARLY = 3
"""Forms of each of the best models that there should be time for, each as long as measuring the dense model takes."""
ENDING = 3
"""Confirming and testing take as long as so many measurements of the dense model."""
CUT = (
    "There was no time to write models in more than {} of the forms: a longer --time-budget may find a smaller one "
    "inside the budget."
)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model in a form that it has not been written in yet.

    shorter: whether it gets the words of the training rows alone. bytes: of its folder, computed; outliers and
    the header of the file come on top.
    """

    point: Point
    shorter: bool
    form: Form
    bytes: int

    @property
    def base(self) -> str:
        """The model before it is written in the form."""
        return f"{self.point.name}-words" if self.shorter else self.point.name

    @property
    def name(self) -> str:
        return f"{self.base}-{self.form.name}"


@dataclasses.dataclass(frozen=True)
class Words:
    """The rows of the word table that stay where the training rows alone count, the same of every model.

    saved: bytes of the tokenizer's files. why: no row can go; empty: some can.
    """

    rows: list[int]
    saved: int
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Written:
    """What was made of the forms of all models. cut: whether there was no time for all that should have been made."""

    points: list[Point]
    cut: bool


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

    def finish(self, points: list[Point], ground: Ground, looked: Sequence[Point], *, enough: bool) -> SizeReport:
        dense = Point(DENSE, "nothing", bytes_of(ground.dense.model_folder), "", ground.exact.score, 0.0)
        plain = [dataclasses.replace(point, price=bytes_of(self.model(point))) for point in points]
        if why := self._words(ground).why:
            ground.inputs.notes.append(f"All rows of the word table stay: {why}")
        names = {point.name for point in points}
        others = [point for point in looked if point.name not in names]
        written = self.folder.step("forms", lambda: self._written([dense, *plain, *others], ground))
        if written.cut:
            ground.inputs.notes.append(CUT.format(len(written.points)))
        elif enough:
            ground.inputs.notes.append(ENOUGH)
        every = [*plain, *written.points]
        confirmed = self.folder.step("confirm", lambda: self._confirm(dense, every, ground))
        chosen = next((point for point in every if point.name == confirmed[-1].name), dense)
        tested = self.folder.step("test", lambda: self._test(chosen, ground))
        self.leave(self._result(chosen, ground).model_folder, every)
        report = assemble(
            self.search.recipe, ground.inputs, dense, every, confirmed, chosen, tested, steps=self.folder.steps
        )
        write(report, self.folder.path)
        return report

    def _written(self, points: list[Point], ground: Ground) -> Written:
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
            return dataclasses.asdict(Written(list(found.values()), cut=index is not None))

        return cast(Written, self.folder.kept("forms", Written, looked))

    def _candidates(self, points: Sequence[Point], ground: Ground) -> Iterator[Candidate]:
        """Each model, with all words and with those of the training rows, in each form."""
        words = self._words(ground)
        for point in points:
            folder = self._result(point, ground).model_folder
            model, beside = load_with_head(folder), bytes_beside_weights(folder)
            shapes = [(False, model, beside)]
            if not words.why:
                shapes.append((True, with_rows(model, words.rows), beside - words.saved))
            for shorter, shape, others in shapes:
                for form in FORMS:
                    yield Candidate(point, shorter, form, others + bytes_in_form(shape, form))

    def _words(self, ground: Ground) -> Words:
        """As the dense model shows."""

        def found() -> Any:
            stage = self._stage(WORDS, {"name": WORDS})
            method = Vocabulary(stage.method, self.search.stages.context(stage, [ground.dense]))
            try:
                rows, smaller = method.shortened()
            except TrimformerError as error:
                return dataclasses.asdict(Words([], 0, str(error)))
            saved = bytes_of_tokenizer(ground.inputs.tokenizer) - bytes_of_tokenizer(smaller)
            return dataclasses.asdict(Words(rows, saved))

        return cast(Words, self.folder.kept("words", Words, found))

    def _look(self, one: Candidate, ground: Ground) -> Point:
        """Written, read again as whoever has the folder reads it, and scored on the selection rows."""
        before, removed = self._result(one.point, ground), one.point.removed
        if one.shorter:
            before = self._done(one.base, {"name": WORDS}, before, ground)
            removed = _joined(removed, "rows of words that the training rows do not use")
        result = self._done(one.name, one.form.method, before, ground)
        own = self._read(result, ground.inputs.selection, ground)
        score, drop = ground.scored(self._logits(result, own), own)
        price = bytes_of(result.model_folder)
        said = f"{one.name}: {numbers.size(price)}; loses {ground.inputs.task.metric.lost(drop)}"
        console.print(said, markup=False, soft_wrap=True)
        removed = _joined(removed, one.form.said)
        return dataclasses.replace(
            one.point, name=one.name, removed=removed, folder=one.name, price=price, score=score, drop=drop
        )

    def _done(self, name: str, method: Any, before: StageResult, ground: Ground) -> StageResult:
        """What a method that trains nothing makes of a model."""
        stage = self._stage(name, method)
        return self.search.stages.run(stage, 0, self.folder.work / name, [ground.dense, before])

    def _stage(self, name: str, method: Any) -> StageSettings:
        return stage_of(name, self.settings.training, ObjectiveSettings(), method=method)

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
