"""The fastest file inside the budget: models under what runs here, timed taking turns, in every precision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ...files import atomic_folder
from ...inference.runtimes.backends import FILE_BACKENDS
from ...measure.bench.variants import STOCK, Variant, precision
from ...measure.bench.workload import Workload, fixed, own_lengths
from ...methods import Context
from ...methods.base import DISTILLED
from ...pipeline.inputs import Inputs
from ...pipeline.results import default_lengths
from ...pipeline.stages import StageResult
from ...tasks.outcome import Outcome
from ..confirmation import Confirmation, step_down
from ..exits import add_exits, refused
from ..measurement import (
    DENSE,
    REFERENCES,
    TIMED,
    Measurement,
    Scored,
    Scores,
    installed,
    measurements_of,
    outcome_of,
    scores_of,
    variants_of,
    with_thresholds,
)
from ..mending import with_mended
from ..output import copy_file, copy_model
from ..predictor import Tables, tables_of_widths
from ..report import assemble, write
from ..schedule.estimates import EXITS, FASTEST, Estimates
from ..schedule.halving import Point, inside, order
from ..schedule.plan import Plan
from ..schema import AutopilotReport
from ..sensitivity import Sensitivity
from ..training import Ground, Trainer
from .base import ENOUGH, Goal, Tested


@dataclasses.dataclass(frozen=True)
class FileTest:
    """The file that was tested, and what came out."""

    file: str
    tested: Tested


class Fastest(Goal):
    """The price of a model is the milliseconds that a pass of it takes."""

    def __init__(self, search: Trainer) -> None:
        super().__init__(search)
        installed()  # or there is nothing to search for

    def measured(self, inputs: Inputs, dense: StageResult, plan: Plan) -> list[Measurement]:
        """The dense model under what runs here: what speed-ups are over, and what trimming has to beat.

        The file in fp32 and that of int8 come first, which most often wins; others only while there is time.
        """
        exact, *others = installed()
        late = self.search.budget.deadline(plan.files)
        made: dict[str, list[Variant]] = {}
        for backend in [*REFERENCES, exact, *sorted(others, key=lambda name: precision(name) != "int8")]:
            if len(made) >= len(REFERENCES) + 2 and self.search.budget.passed(late):
                break
            made[backend] = self._variants({DENSE: dense.model_folder}, [backend], inputs)
        variants = [one for name in [*REFERENCES, *installed()] for one in made.get(name, [])]
        variants, scores = self._scored(variants, {DENSE: dense.model_folder}, inputs)
        # The stock model is the same as this encoder: only its time is of interest.
        scores |= {(DENSE, backend): scores[DENSE, "torch"] for backend in STOCK}
        return self._measured(variants, scores, inputs)

    def estimates(self, ground: Ground) -> Estimates:
        return dataclasses.replace(self._estimates(ground), exits=0 if self._without_exits(ground) else EXITS)

    def _estimates(self, ground: Ground) -> Estimates:
        """Without exits."""
        return Estimates(
            seconds=next(step["seconds"] for step in self.folder.steps if step["name"] == "files"),
            backends=len(REFERENCES) + len(ground.files),
            files=len(ground.files),
            speed=ground.speed,
            selection=len(ground.inputs.selection),
            learned=len(ground.inputs.learned(DISTILLED)),
        )

    def _without_exits(self, ground: Ground) -> str:
        """Why no model gets exits, decided once; empty: some do."""
        estimates = dataclasses.replace(self._estimates(ground), exits=EXITS)
        return str(self.folder.kept("without-exits", str, lambda: refused(self.search, ground, estimates)))

    def prices(self, context: Context, found: Sensitivity, ground: Ground) -> Tables:
        search = self.search
        return tables_of_widths(
            context.model,
            found,
            batch=search.recipe.measure.batch[0],
            length=(search.recipe.measure.length or default_lengths(context.selection))[0],
            threads=search.threads,
            backend=ground.files[0],
            fitted=search.fitted,
            coarse=search.fitted,
        )

    def dense_price(self, ground: Ground) -> float:
        return self._peer(ground).ms

    def wanted(self, ground: Ground) -> float:
        """Milliseconds of what is as fast as the settings ask for."""
        speedup = self.settings.min_speedup
        return math.inf if speedup is None else ground.measured[0].ms / speedup

    def words(self, price: float) -> str:
        return f"{price:.2f} ms are predicted"

    def write_best(self, name: str, folder: Path, place: Path, ground: Ground) -> None:
        """The file is of the back-end that is best for the dense model, and was not scored itself."""
        (variant,) = self._variants({name: folder}, [self._peer(ground).timing.backend], ground.inputs)
        assert variant.path is not None
        copy_model(folder, place / "model")
        copy_file(variant.path, place / FILE_BACKENDS[variant.backend].folder, folder)

    def finish(self, points: list[Point], ground: Ground, looked: Sequence[Point], *, enough: bool) -> AutopilotReport:
        if enough:
            ground.inputs.notes.append(ENOUGH)
        if why := self._without_exits(ground):
            ground.inputs.notes.append(f"Exits were not tried: {why}.")
        else:
            added = self.folder.step("exits", lambda: add_exits(self.search, points, ground, self.estimates(ground)))
            ground.inputs.notes.extend(added.notes)
            points = [*points, *added.points]
        measured = self.folder.step("compare", lambda: self._compare(points, ground))
        confirmed = self.folder.step("confirm", lambda: self._confirm(measured, points, ground))
        taken = (confirmed[-1].name, confirmed[-1].backend)
        chosen = next(one for one in measured if (one.timing.name, one.timing.backend) == taken)
        tested = self.folder.step("test", lambda: self._test(chosen, points, ground))
        return self._leave(points, measured, confirmed, chosen, tested, ground, looked)

    def _compare(self, points: list[Point], ground: Ground) -> list[Measurement]:
        """All points in fp32, the fastest ones inside the budget in everything else, too; beside the dense model."""

        def measured() -> Any:
            inputs, exact = ground.inputs, ground.files[0]
            folders = {point.name: self.model(point) for point in points}
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
        task, rows = ground.inputs.task, self.search.confirming

        def answers(model: str, folder: Path, backend: str) -> Outcome:
            (variant,) = self._variants({model: folder}, [backend], ground.inputs)
            return outcome_of(variant, task, rows)

        def found() -> Any:
            before = answers(DENSE, ground.dense.model_folder, "torch")

            def confirm(one: Measurement, level: float | None) -> Confirmation:
                after = answers(one.timing.name, self._folder_of(one, points, ground), one.timing.backend)
                return self.confirmed(one.timing.name, one.timing.backend, task, before, after, level)

            last = next(one for one in measured if (one.timing.name, one.timing.backend) == (DENSE, ground.files[0]))
            tried = step_down([one for one in measured if one.trusted], last, self.settings.max_drop, confirm)
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
            found = self.compared(inputs.task, before, after, "The chosen file")
            return dataclasses.asdict(FileTest(str(file.path), found))

        return cast(FileTest, self.folder.kept("test", FileTest, tested))

    def _leave(
        self,
        points: list[Point],
        measured: list[Measurement],
        confirmed: list[Confirmation],
        chosen: Measurement,
        tested: FileTest,
        ground: Ground,
        looked: Sequence[Point],
    ) -> AutopilotReport:
        """Put everything where it belongs and give the folder its name."""
        file, found = Path(tested.file), tested.tested
        place = self.folder.path / FILE_BACKENDS[chosen.timing.backend].folder
        source = self._folder_of(chosen, points, ground)
        self.leave(source, points)
        with atomic_folder(place) as temporary:
            copy_file(file, temporary, source)
        report = assemble(
            self.search.recipe, ground.inputs, points, measured, confirmed, chosen, found.test, found.scores,
            balance=found.balance, file=f"{place.name}/{file.name}", steps=self.folder.steps, looked=looked,
        )  # fmt: skip
        write(report, measured, self.folder.path)
        return report

    def _workload(self, inputs: Inputs) -> Workload:
        """The batch that is to be fast: of the length asked for, or of the lengths of the selection rows."""
        batch, length = self.search.recipe.measure.batch[0], self.search.recipe.measure.length
        if length is None:
            workload = own_lengths(inputs.selection, [batch])[-1]
            return workload.fewer(TIMED) if self.search.fitted else workload
        return fixed(inputs.checkpoint.config, batch, length[0])

    def _variants(self, models: dict[str, Path], backends: list[str], inputs: Inputs) -> list[Variant]:
        return variants_of(models, backends, self.folder.work / "exports", self.search.threads, inputs.train)

    def _scored(self, variants: list[Variant], models: dict[str, Path], inputs: Inputs) -> tuple[list[Variant], Scores]:
        """The variants and their scores on the selection rows, without those of stock models, at their own thresholds.

        int8 files that do not answer as fp32 does are mended, but not under a limit of time: each map is tried for it.
        """
        rows, threads = (inputs.task, inputs.selection), self.search.threads
        scores = scores_of([one for one in variants if one.backend not in STOCK], *rows)
        if math.isinf(self.search.budget.seconds):
            variants, scores = with_mended(variants, scores, models, *rows, inputs.train, threads, self.folder.kept)
        return with_thresholds(variants, scores, *rows, threads, self.folder.kept)

    def _measured(self, variants: Sequence[Variant], scores: Scores, inputs: Inputs) -> list[Measurement]:
        return measurements_of(variants, scores, self._workload(inputs), self.search.threads, inputs.task.metric)

    def _peer(self, ground: Ground) -> Measurement:
        """The best file of the dense model, which what is trimmed has to beat."""
        files = [one for one in ground.measured if one.trusted]
        return order(files, self.settings.max_drop)[0]

    def _folder_of(self, measurement: Measurement, points: list[Point], ground: Ground) -> Path:
        """The model that was measured."""
        found = next((point for point in points if point.name == measurement.timing.name), None)
        return ground.dense.model_folder if found is None else self.model(found)
