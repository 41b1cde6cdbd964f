"""The autopilot's run: dense model, candidates, halving, comparison on this machine, test; every step is kept."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from ..console import console
from ..deploy.agreement import agrees
from ..files import atomic_folder
from ..inference.runtimes.backends import FILE_BACKENDS
from ..measure.bench.variants import STOCK, Variant, precision
from ..measure.bench.workload import Workload, fixed, own_lengths
from ..measure.significance import PairedTest, paired_test
from ..methods.base import DISTILLED
from ..pipeline.inputs import Inputs
from ..pipeline.stages import StageResult
from ..recipe.settings import Recipe
from ..tasks.balance import balance_notes
from ..tasks.outcome import Outcome
from .candidates import Candidates, find_candidates
from .confirmation import Confirmation, confirmation, step_down
from .executors.chosen import check_helpers, chosen_executor
from .executors.job import Executor, TrainingJob
from .exits import add_exits, refused
from .measurement import (
    DENSE,
    REFERENCES,
    Measurement,
    Scored,
    Scores,
    installed,
    measurements_of,
    outcome_of,
    scores_of,
    variants_of,
)
from .mending import with_mended
from .output import copy_file, copy_model
from .report import assemble, write
from .schedule.estimates import EXITS, FASTEST, Estimates
from .schedule.halving import Point, better, done_before, inside, order, promoted, rungs
from .schedule.plan import UNSPENT, Plan
from .schema import AutopilotReport
from .shortlist import TRAINED, left_behind
from .training import NEARLY, TWICE, Ground, Trainer, stage_of
from .worker import work

SLACK = 1.25
"""The dense model's training is cut after so many times what was planned for it."""
TIMED = 32
"""Batches of real texts that are timed where there is little time, in place of 256."""
BEST = "best"
ENOUGH = (
    "The time budget was not needed as a whole: nothing that might have become the fastest inside the budget was left "
    "to look at or to train."
)


def run(recipe: Recipe, *, resume: bool = False) -> AutopilotReport:
    """Find the fastest model within the budget of ``recipe.autopilot``; what was found is left in ``recipe.out``.

    resume: go on with the unfinished run in ``OUT.partial``, as :func:`trimformer.pipeline.run` does.
    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    autopilot = Autopilot(recipe, resume)
    with autopilot.folder.claimed():
        return autopilot.search()


@dataclasses.dataclass(frozen=True)
class FileTest:
    """The file that was tested, what came out, and what to be warned of in the answers.

    scores: of the dense model and of the file.
    """

    file: str
    test: PairedTest
    scores: tuple[float, float]
    balance: list[str]


class Autopilot(Trainer):
    """One search in its folder."""

    exits: int = 0  # models that get some

    def search(self) -> AutopilotReport:
        check_helpers(self.settings)
        installed()  # or there is nothing to search for
        inputs = self.folder.step("load", self.load)
        plan = self.folder.step("plan", lambda: self._planned(inputs))
        self.deadline = self.budget.deadline(SLACK * plan.dense)
        dense = self.folder.step("dense", lambda: self.dense(plan.epochs))
        inputs.notes.extend(plan.notes)
        ground = Ground(inputs, dense, self.folder.step("files", lambda: self._dense_files(inputs, dense, plan)))
        estimates = dataclasses.replace(self._estimates(ground), exits=EXITS)
        without = self.folder.kept("without-exits", str, lambda: refused(self, ground, estimates))
        self.exits = 0 if without else EXITS
        found = self.folder.step("candidates", lambda: self._candidates(ground, plan))
        points = found.taken
        sizes = [] if self.settings.post_training else rungs(len(points))
        self.folder.step("teacher", lambda: self._ask_teacher(points if sizes else [], ground))
        with chosen_executor(self.settings, self.folder, work) as execute:
            for rung in range(len(sizes)):
                train = partial(self._rung, rung, sizes, points, ground, execute)
                points = self.folder.step(f"rung {rung + 1}", train)
        if sizes and self.settings.time_budget is not None:
            points = self._train_on([*points, *found.spare], len(sizes), ground)
        if self.folder.kept("enough", bool, lambda: found.all and self._enough(points, len(sizes), ground)):
            inputs.notes.append(ENOUGH)
        points = [point for point in points if point.rungs or point in found.taken]
        if without:
            inputs.notes.append(f"Exits were not tried: {without}.")
        else:
            added = self.folder.step("exits", lambda: add_exits(self, points, ground, self._estimates(ground)))
            inputs.notes.extend(added.notes)
            points = [*points, *added.points]
        measured = self.folder.step("compare", lambda: self._compare(points, ground))
        confirmed = self.folder.step("confirm", lambda: self._confirm(measured, points, ground))
        taken = (confirmed[-1].name, confirmed[-1].backend)
        chosen = next(one for one in measured if (one.timing.name, one.timing.backend) == taken)
        tested = self.folder.step("test", lambda: self._test(chosen, points, ground))
        return self._leave(points, measured, confirmed, chosen, tested, ground, found)

    def _planned(self, inputs: Inputs) -> Plan:
        plan = cast(Plan, self.folder.kept("plan", Plan, lambda: dataclasses.asdict(self.plan(inputs))))
        if self.fitted:
            console.print(str(plan), markup=False, soft_wrap=True)
        return plan

    def _dense_files(self, inputs: Inputs, dense: StageResult, plan: Plan) -> list[Measurement]:
        """The dense model under what runs here: what speed-ups are over, and what trimming has to beat.

        The file in fp32 and that of int8 come first, which most often wins; others only while there is time.
        """

        def measured() -> Any:
            exact, *others = installed()
            late = self.budget.deadline(plan.files)
            made: dict[str, list[Variant]] = {}
            for backend in [*REFERENCES, exact, *sorted(others, key=lambda name: precision(name) != "int8")]:
                if len(made) >= len(REFERENCES) + 2 and self.budget.passed(late):
                    break
                made[backend] = self._variants({DENSE: dense.model_folder}, [backend], inputs)
            variants = [one for name in [*REFERENCES, *installed()] for one in made.get(name, [])]
            variants, scores = self._scored(variants, {DENSE: dense.model_folder}, inputs)
            # The stock model is the same as this encoder: only its time is of interest.
            scores |= {(DENSE, backend): scores[DENSE, "torch"] for backend in STOCK}
            return [dataclasses.asdict(one) for one in self._measured(variants, scores, inputs)]

        return cast(list[Measurement], self.folder.kept("files", list[Measurement], measured))

    def _candidates(self, ground: Ground, plan: Plan) -> Candidates:
        """What is worth training, or exporting; nothing where there is no time to look at anything."""

        def looked() -> Any:
            estimates = self._estimates(ground)
            left = self.budget.left(estimates.ending(FASTEST))
            if left < estimates.look and not self.settings.post_training:
                return dataclasses.asdict(Candidates([], [], all=False))
            found = find_candidates(
                self,
                ground,
                backend=ground.files[0],
                peer=self._peer(ground).ms,
                seconds=min(left, plan.candidates),
                trained=estimates.trainings(plan.training, TRAINED),
                keep=lambda point: self._keep_best("look", [point], ground),
            )
            return dataclasses.asdict(found)

        found: Candidates = self.folder.kept("candidates", Candidates, looked)
        self._keep_best("candidates", found.taken, ground)
        return found

    def _keep_best(self, after: str, points: list[Point], ground: Ground) -> None:
        """Leave the fastest by now with its file in ``best``, for whoever stops the search here. after: this step.

        The file is of the back-end that is best for the dense model, and was not scored itself.
        """
        place = self.folder.path / BEST

        def left() -> str:
            fits = [point for point in order(points, self.settings.max_drop) if inside(point, self.settings.max_drop)]
            name, folder = (fits[0].name, self._model(fits[0])) if fits else (DENSE, ground.dense.model_folder)
            (variant,) = self._variants({name: folder}, [self._peer(ground).timing.backend], ground.inputs)
            assert variant.path is not None
            with atomic_folder(place) as temporary:
                copy_model(folder, temporary / "model")
                copy_file(variant.path, temporary / FILE_BACKENDS[variant.backend].folder, folder)
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
            estimates = self._estimates(ground)
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
                seconds = self.budget.left(self._estimates(ground).ending(count_trained))
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
        left = self.budget.left(self._estimates(ground).ending(len(points)))
        return not cut and not waits and left > UNSPENT * self.budget.seconds

    def _estimates(self, ground: Ground) -> Estimates:
        return Estimates(
            seconds=next(step["seconds"] for step in self.folder.steps if step["name"] == "files"),
            backends=len(REFERENCES) + len(ground.files),
            files=len(ground.files),
            speed=ground.speed,
            selection=len(ground.inputs.selection),
            learned=len(ground.inputs.learned(DISTILLED)),
            exits=self.exits,
        )

    def _compare(self, points: list[Point], ground: Ground) -> list[Measurement]:
        """All points in fp32, the fastest ones inside the budget in everything else, too; beside the dense model."""

        def measured() -> Any:
            inputs, exact = ground.inputs, ground.files[0]
            folders = {point.name: self._model(point) for point in points}
            references = [ground.measured[0].timing.backend, *ground.files]
            dense = self._variants({DENSE: ground.dense.model_folder}, references, inputs)
            trimmed = self._variants(folders, [exact], inputs)
            scores = {(DENSE, one.timing.backend): one.scored for one in ground.measured}
            scores |= {(point.name, exact): Scored(point.score, 1.0) for point in points if point.score is not None}
            fits = [one for one in self._measured(trimmed, scores, inputs) if inside(one, self.settings.max_drop)]
            if fits:
                names = [one.timing.name for one in order(fits, self.settings.max_drop)[:FASTEST]]
                files = self._variants({name: folders[name] for name in names}, ground.files, inputs)
                files, scored = self._scored(files, folders, inputs)
                scores |= scored
                trimmed = [*files, *(variant for variant in trimmed if variant.name not in names)]
            return [dataclasses.asdict(one) for one in self._measured([*dense, *trimmed], scores, inputs)]

        return cast(list[Measurement], self.folder.kept("compare", list[Measurement], measured))

    def _confirm(self, measured: list[Measurement], points: list[Point], ground: Ground) -> list[Confirmation]:
        """The files that were tried on the confirmation rows; the last one is taken."""
        task, rows = ground.inputs.task, self.confirming

        def answers(model: str, folder: Path, backend: str) -> Outcome:
            (variant,) = self._variants({model: folder}, [backend], ground.inputs)
            return outcome_of(variant, task, rows)

        def found() -> Any:
            before = answers(DENSE, ground.dense.model_folder, "torch")

            def confirm(one: Measurement, level: float | None) -> Confirmation:
                after = answers(one.timing.name, self._folder_of(one, points, ground), one.timing.backend)
                sure = level if self.settings.sure else None
                resamples = self.recipe.measure.resamples
                return confirmation(
                    one, task.metric, before, after, self.settings.max_drop, sure=sure, resamples=resamples
                )

            tried = step_down(measured, self.settings.max_drop, ground.files[0], confirm)
            return [dataclasses.asdict(one) for one in tried]

        return cast(list[Confirmation], self.folder.kept("confirm", list[Confirmation], found))

    def _test(self, chosen: Measurement, points: list[Point], ground: Ground) -> FileTest:
        """The chosen file against the dense model in PyTorch on the validation rows, seen here for the first time."""

        def tested() -> Any:
            inputs = ground.inputs
            folder = self._folder_of(chosen, points, ground)
            (file,) = self._variants({chosen.timing.name: folder}, [chosen.timing.backend], inputs)
            (dense,) = self._variants({DENSE: ground.dense.model_folder}, ["torch"], inputs)
            before, after = (outcome_of(variant, inputs.task, inputs.validation) for variant in (dense, file))
            test = paired_test(before, after, self.recipe.measure.resamples)
            notes = balance_notes(inputs.task, {"The dense model": before, "The chosen file": after}, "validation")
            before_score, after_score = (found.scores[inputs.task.metrics[0]] for found in (before, after))
            return dataclasses.asdict(FileTest(str(file.path), test, (before_score, after_score), notes))

        return cast(FileTest, self.folder.kept("test", FileTest, tested))

    def _leave(
        self,
        points: list[Point],
        measured: list[Measurement],
        confirmed: list[Confirmation],
        chosen: Measurement,
        tested: FileTest,
        ground: Ground,
        found: Candidates,
    ) -> AutopilotReport:
        """Put everything where it belongs and give the folder its name."""
        file = Path(tested.file)
        place = self.folder.path / FILE_BACKENDS[chosen.timing.backend].folder
        source = self._folder_of(chosen, points, ground)
        copies = {self.folder.path / "model": source}
        copies |= {self.folder.path / "points" / point.name / "model": self._model(point) for point in points}
        for target, folder in copies.items():  # copies: where this is cut, the run can still be resumed
            with atomic_folder(target) as temporary:
                copy_model(folder, temporary)
        with atomic_folder(place) as temporary:
            copy_file(file, temporary, source)
        report = assemble(
            self.recipe, ground.inputs, points, measured, confirmed, chosen, tested.test, tested.scores,
            balance=tested.balance, file=f"{place.name}/{file.name}", steps=self.folder.steps,
            looked=[*found.taken, *found.spare],
        )  # fmt: skip
        shutil.rmtree(self.folder.path / BEST, ignore_errors=True)
        write(report, measured, self.folder.path)
        trainings = [*ground.dense.folder.glob("metrics.jsonl"), *sorted(self.folder.work.glob("*/metrics.jsonl"))]
        self.folder.finish(trainings)
        return report

    def _workload(self, inputs: Inputs) -> Workload:
        """The batch that is to be fast: of the length asked for, or of the lengths of the selection rows."""
        batch, length = self.recipe.measure.batch[0], self.recipe.measure.length
        if length is None:
            workload = own_lengths(inputs.selection, [batch])[-1]
            return workload.fewer(TIMED) if self.fitted else workload
        return fixed(inputs.checkpoint.config, batch, length[0])

    def _variants(self, models: dict[str, Path], backends: list[str], inputs: Inputs) -> list[Variant]:
        return variants_of(models, backends, self.folder.work / "exports", self.threads, inputs.train)

    def _scored(self, variants: list[Variant], models: dict[str, Path], inputs: Inputs) -> tuple[list[Variant], Scores]:
        """The variants and their scores on the selection rows, without those of stock models.

        int8 files that do not answer as fp32 does are mended, but not under a limit of time: each map is tried for it.
        """
        own = [one for one in variants if one.backend not in STOCK]
        scores = scores_of(own, inputs.task, inputs.selection)
        if not math.isinf(self.budget.seconds):
            return variants, scores
        return with_mended(
            variants, scores, models, inputs.task, inputs.selection, inputs.train, self.threads, self.folder.kept
        )

    def _measured(self, variants: Sequence[Variant], scores: Scores, inputs: Inputs) -> list[Measurement]:
        return measurements_of(variants, scores, self._workload(inputs), self.threads, inputs.task.metric)

    def _peer(self, ground: Ground) -> Measurement:
        """The best file of the dense model, which what is trimmed has to beat."""
        files = [one for one in ground.measured if one.is_file and agrees(one.agreement)]
        return order(files, self.settings.max_drop)[0]

    def _model(self, point: Point) -> Path:
        return self.folder.work / point.folder / "model"

    def _folder_of(self, measurement: Measurement, points: list[Point], ground: Ground) -> Path:
        """The model that was measured."""
        found = next((point for point in points if point.name == measurement.timing.name), None)
        return ground.dense.model_folder if found is None else self._model(found)
