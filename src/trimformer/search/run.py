"""The autopilot's run: dense model, candidates, halving, comparison on this machine, test; every step is kept."""

from __future__ import annotations

import dataclasses
import math
import shutil
from functools import partial
from typing import Any, cast

from ..console import console
from ..files import atomic_folder
from ..pipeline.inputs import Inputs
from ..pipeline.stages import StageResult
from ..recipe.settings import Recipe
from .candidates import Candidates, find_candidates
from .executors.chosen import check_helpers, chosen_executor
from .executors.job import Executor, TrainingJob
from .goals.base import Goal
from .goals.fastest import Fastest
from .goals.smallest import Smallest
from .measurement import DENSE, Measurement
from .schedule.estimates import FASTEST
from .schedule.halving import Point, better, done_before, inside, order, promoted, rungs
from .schedule.plan import UNSPENT, Plan
from .schema import AutopilotReport, SizeReport
from .shortlist import TRAINED, left_behind
from .training import NEARLY, TWICE, Ground, Trainer, stage_of
from .worker import work

SLACK = 1.25
"""The dense model's training is cut after so many times what was planned for it."""
BEST = "best"


def run(recipe: Recipe, *, resume: bool = False) -> AutopilotReport | SizeReport:
    """Find the fastest or the smallest model within the budget of ``recipe.autopilot``; leave it in ``recipe.out``.

    resume: go on with the unfinished run in ``OUT.partial``, as :func:`trimformer.pipeline.run` does.
    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    autopilot = Autopilot(recipe, resume)
    with autopilot.folder.claimed():
        return autopilot.search()


class Autopilot(Trainer):
    """One search in its folder."""

    def __init__(self, recipe: Recipe, resume: bool) -> None:
        super().__init__(recipe, resume)
        self.goal: Goal = Fastest(self) if self.settings.max_size is None else Smallest(self)

    def search(self) -> AutopilotReport | SizeReport:
        check_helpers(self.settings)
        inputs = self.folder.step("load", self.load)
        plan = self.folder.step("plan", lambda: self._planned(inputs))
        self.deadline = self.budget.deadline(SLACK * plan.dense)
        dense = self.folder.step("dense", lambda: self.dense(plan.epochs))
        inputs.notes.extend(plan.notes)
        ground = Ground(inputs, dense, self.folder.step("files", lambda: self._dense_measured(inputs, dense, plan)))
        found = self.folder.step("candidates", lambda: self._candidates(ground, plan))
        inputs.notes.extend(found.notes)
        points = found.taken
        sizes = [] if self.settings.post_training else rungs(len(points))
        self.folder.step("teacher", lambda: self._ask_teacher(points if sizes else [], ground))
        with chosen_executor(self.settings, self.folder, work) as execute:
            for rung in range(len(sizes)):
                train = partial(self._rung, rung, sizes, points, ground, execute)
                points = self.folder.step(f"rung {rung + 1}", train)
        if sizes and self.settings.time_budget is not None:
            points = self._train_on([*points, *found.spare], len(sizes), ground)
        enough = self.folder.kept("enough", bool, lambda: found.all and self._enough(points, len(sizes), ground))
        points = [point for point in points if point.rungs or point in found.taken]
        report = self.goal.finish(points, ground, [*found.taken, *found.spare], enough=enough)
        shutil.rmtree(self.folder.path / BEST, ignore_errors=True)
        trainings = [*dense.folder.glob("metrics.jsonl"), *sorted(self.folder.work.glob("*/metrics.jsonl"))]
        self.folder.finish(trainings)
        return report

    def _planned(self, inputs: Inputs) -> Plan:
        plan = cast(Plan, self.folder.kept("plan", Plan, lambda: dataclasses.asdict(self.plan(inputs))))
        if self.fitted:
            console.print(str(plan), markup=False, soft_wrap=True)
        return plan

    def _dense_measured(self, inputs: Inputs, dense: StageResult, plan: Plan) -> list[Measurement]:
        def measured() -> Any:
            return [dataclasses.asdict(one) for one in self.goal.measured(inputs, dense, plan)]

        return cast(list[Measurement], self.folder.kept("files", list[Measurement], measured))

    def _candidates(self, ground: Ground, plan: Plan) -> Candidates:
        """What is worth training, or exporting; nothing where there is no time to look at anything."""

        def looked() -> Any:
            estimates = self.goal.estimates(ground)
            left = self.budget.left(estimates.ending(FASTEST))
            if left < estimates.look and not self.settings.post_training:
                return dataclasses.asdict(Candidates([], [], all=False))
            found = find_candidates(
                self,
                ground,
                self.goal,
                seconds=min(left, plan.candidates),
                trained=estimates.trainings(plan.training, TRAINED),
                keep=lambda point: self._keep_best("look", [point], ground),
            )
            return dataclasses.asdict(found)

        found: Candidates = self.folder.kept("candidates", Candidates, looked)
        self._keep_best("candidates", found.taken, ground)
        return found

    def _keep_best(self, after: str, points: list[Point], ground: Ground) -> None:
        """Leave the best by now in ``best``, for whoever stops the search here. after: this step."""
        place = self.folder.path / BEST

        def left() -> str:
            fits = [point for point in order(points, self.settings.max_drop) if inside(point, self.settings.max_drop)]
            name, folder = (fits[0].name, self.goal.model(fits[0])) if fits else (DENSE, ground.dense.model_folder)
            with atomic_folder(place) as temporary:
                self.goal.write_best(name, folder, temporary, ground)
            return name

        self.folder.kept(f"best-after-{after}", str, left)

    def _ask_teacher(self, points: list[Point], ground: Ground) -> None:
        """Write down its answers before anybody trains, for those that train side by side would all write them."""

        def asked() -> bool:
            for point in points:
                stage = stage_of(point.name, self.settings.training, self._objective(ground))
                before = [ground.dense, StageResult(point.name, self.folder.work / point.folder, {})]
                self.stages.context(stage, before).make_objective()
            self.accelerator.free_memory()
            return True

        self.folder.kept("teacher", bool, asked)

    def _rung(self, rung: int, sizes: list[int], points: list[Point], ground: Ground, execute: Executor) -> list[Point]:
        """Train the best of those that were trained in all rungs so far; all come back, the others as they were."""

        def trained() -> Any:
            running = [point for point in points if point.rungs == rung]
            chosen = promoted(running, sizes[rung], self.settings.max_drop, done_before(rung, len(sizes)))
            estimates = self.goal.estimates(ground)
            seconds = self.budget.left(estimates.ending(len(points))) / (len(sizes) - rung)
            able = int(min(len(chosen), seconds / estimates.training))
            jobs = [TrainingJob(rung, len(sizes), point) for point in chosen[:able]]
            found = {point.name: point for point in points}
            for after in execute(jobs, seconds, partial(self.train, ground=ground)):
                best = better(found[after.name], after, self.settings.max_drop)
                found[after.name] = dataclasses.replace(best, rungs=rung + 1)
            return [dataclasses.asdict(point) for point in found.values()]

        after: list[Point] = self.folder.kept(f"rung-{rung + 1}", list[Point], trained)
        for point in after:  # of what there is by now only the last weights are needed from here on
            for folder in {f"{before}-{point.name}" for before in range(point.rungs)} - {point.folder}:
                shutil.rmtree(self.folder.work / folder / "model", ignore_errors=True)
        self._keep_best(f"rung-{rung + 1}", after, ground)
        return after

    def _train_on(self, points: list[Point], count: int, ground: Ground) -> list[Point]:
        """Train further who was left behind, while there is time. count: of rungs."""
        done = [done_before(rung, count) for rung in range(count)]
        limit = UNSPENT * self.budget.seconds

        def next_trained(name: str, points: list[Point]) -> list[Point] | None:
            """The points after one more training; None where there is nobody to train, or no time."""

            def trained() -> Any:
                count_trained = 1 + sum(point.rungs > 0 for point in points)
                seconds = self.budget.left(self.goal.estimates(ground).ending(count_trained))
                one = left_behind(points, self.settings.max_drop, done)
                if one is None or seconds < limit:
                    return []
                after = better(
                    one, self.train(TrainingJob(one.rungs, count, one), seconds, ground), self.settings.max_drop
                )
                return [dataclasses.asdict(dataclasses.replace(after, rungs=one.rungs + 1))]

            found: list[Point] = self.folder.kept(name, list[Point], trained)
            if not found:
                return None
            points = [*(point for point in points if point.name != found[0].name), *found]
            self._keep_best(name, points, ground)
            return points

        number = 1
        while True:
            name = f"further-{number}"
            after = self.folder.step(name, partial(next_trained, name, points))
            if after is None:
                return points
            points, number = after, number + 1

    def _enough(self, points: list[Point], count: int, ground: Ground) -> bool:
        """Whether more time would not have been used, of which much is left. count: of rungs."""
        if math.isinf(self.budget.seconds):
            return False
        done = [done_before(rung, count) for rung in range(count + 1)] if count else [0.0]
        wanted = TWICE * self.settings.training.epochs
        cut = any(point.epochs < NEARLY * done[point.rungs] * wanted for point in points)
        waits = bool(count) and left_behind(points, self.settings.max_drop, done[:-1]) is not None
        left = self.budget.left(self.goal.estimates(ground).ending(len(points)))
        return not cut and not waits and left > UNSPENT * self.budget.seconds
