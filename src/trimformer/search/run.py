"""The autopilot's run: dense model, candidates, halving, comparison on this machine, test; every step is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..cluster import connect
from ..deploy.backends import FILE_BACKENDS, parts
from ..deploy.export import save_tokenizer
from ..encoder.checkpoints.load import load_tokenizer, load_with_head
from ..encoder.gating.trim import trim
from ..files import atomic_file, atomic_folder, explain_write_errors
from ..measure.bench.workload import Workload, fixed, own_lengths
from ..measure.device.pieces import latency_tables
from ..measure.significance import paired_bootstrap
from ..pipeline.inputs import Inputs
from ..pipeline.results import default_lengths
from ..pipeline.run import StageResult
from ..recipe.settings import Recipe
from ..training.settings import ObjectiveSettings
from .candidates import MOST, Tables, gates_of, predict, promising, widths
from .files import DENSE, REFERENCES, Row, installed, outcome_of, timed, variants_of
from .halving import Point, done_before, inside, order, promoted, rungs
from .nodes import workers_on_nodes
from .report import AutopilotReport, assemble, write
from .sensitivity import ROWS, Divergence, sensitivity
from .storage import check_storage, storage_url
from .training import Ground, Job, Together, Trainer, one_by_one, stage_of
from .trials import Trials

PREDICTING = 0.2
"""Share of the time that is left which may go into predictions."""
FINDING = 3
"""Finding candidates takes about so many times as long as measuring the dense model's files: 1 to 3.5 on one core."""
LATE = "The dense model's training was cut after half of the time budget: it could be better than it is here."


def run(recipe: Recipe, *, resume: bool = False) -> AutopilotReport:
    """Find the fastest model within the budget of ``recipe.autopilot``; what was found is left in ``recipe.out``.

    resume: go on with the unfinished run in ``OUT.partial``, as :func:`trimformer.pipeline.run` does.
    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    return Autopilot(recipe, resume).search()


class Autopilot(Trainer):
    """One search in its folder."""

    def search(self) -> AutopilotReport:
        self._check_helpers()
        installed()  # or there is nothing to search for
        inputs = self._step("load", self._load)
        self.deadline = self.budget.deadline(self.budget.left() / 2)
        dense = self._step("dense", lambda: self._dense(inputs))
        late = self._kept("late", lambda: self.budget.passed(self.deadline))
        inputs.notes.extend([LATE] if late else [])
        ground = Ground(inputs, dense, self._step("files", lambda: self._dense_files(inputs, dense)))
        points = self._step("candidates", lambda: self._candidates(ground))
        sizes = rungs(len(points))
        self._step("teacher", lambda: self._ask_teacher(points, ground))
        with self._together() as together:
            for rung in range(len(sizes)):
                points = self._step(f"rung {rung + 1}", partial(self._rung, rung, sizes, points, ground, together))
        rows = self._step("compare", lambda: self._compare(points, ground))
        chosen = order([row for row in rows if row.is_file], self.settings.max_drop)[0]
        tested = self._step("test", lambda: self._test(chosen, points, ground))
        return self._leave(points, rows, chosen, tested, ground)

    def _check_helpers(self) -> None:
        """Refuse before any work what nobody could be asked through."""
        if self.settings.storage is not None:
            check_storage(self.settings.storage)
        if self.settings.ray is not None:
            connect(self.settings.ray).shutdown()

    def _dense_files(self, inputs: Inputs, dense: StageResult) -> list[Row]:
        """The dense model under everything that runs here: what speed-ups are over, and what trimming has to beat."""

        def measured() -> Any:
            variants = self._variants({DENSE: dense.model_folder}, [*REFERENCES, *installed()], inputs)
            metric = inputs.task.metrics[0]
            scores = {v.backend: outcome_of(v, inputs.task, inputs.selection).scores[metric] for v in variants}
            ran = timed(variants, self._workload(inputs), self.threads)
            rows = [Row(t, scores[t.backend], 100 * (scores["torch"] - scores[t.backend])) for _, t in ran]
            return [dataclasses.asdict(row) for row in rows]

        return [Row.from_json(values) for values in self._kept("files", measured)]

    def _candidates(self, ground: Ground) -> list[Point]:
        """The combinations that are worth training, trimmed from the dense model."""

        def chosen() -> Any:
            if not self.budget.left((FINDING + 1) * self._ending(0)):
                return []
            stage = stage_of("candidates", self.settings.training, ObjectiveSettings())
            context = self._context(stage, ground.inputs, [ground.dense])
            cost = Divergence(context, ROWS)
            found = sensitivity(context, ROWS, cost)
            self._write_json("sensitivity.json", dataclasses.asdict(found))
            # Times are predicted at one length, and scaled to what the dense model takes at those that are measured.
            peer = self._peer(ground)
            length = (self.recipe.measure.length or default_lengths(context.selection))[0]
            tables = [
                latency_tables(
                    trim(context.model, gates), batch=self.recipe.measure.batch[:1], length=[length],
                    threads=self.threads, backends=installed()[:1],
                )[0]
                for gates in widths(context.model.config, found)
            ]  # fmt: skip
            late = self.budget.deadline(PREDICTING * self.budget.left())
            predicted = predict(context, found, cost, Tables(tables), lambda: self.budget.passed(late))
            scale = peer.ms / predicted[0].ms
            speedup = self.settings.min_speedup
            fast = math.inf if speedup is None else ground.rows[0].ms / speedup / scale
            points = []
            for one in promising(predicted, fast, MOST):
                name = one.candidate.name
                point = Point(name, one.candidate.removed(len(found.attention)), scale * one.ms, f"0-{name}")
                trimmed = trim(context.model, gates_of(one.candidate, found)).cpu()
                self._save_model(trimmed, ground.inputs, self._model(point))
                points.append(dataclasses.asdict(point))
            return points

        return [Point(**values) for values in self._kept("candidates", chosen)]

    def _ask_teacher(self, points: list[Point], ground: Ground) -> None:
        """Write down its answers before anybody trains, for those that train side by side would all write them."""

        def asked() -> bool:
            for point in points:
                stage = stage_of(point.name, self.settings.training, self._objective(ground))
                before = [ground.dense, StageResult(point.name, self.work / point.folder, {})]
                self._context(stage, ground.inputs, before).make_objective()
            self.accelerator.free_memory()
            return True

        self._kept("teacher", asked)

    @contextlib.contextmanager
    def _together(self) -> Iterator[Together]:
        """What does the trainings of a rung: this process alone, or with all that help it."""
        storage, ray = self.settings.storage, self.settings.ray
        if storage is None:
            yield one_by_one
            return
        name = self._read_json("study.json", None) or f"{self.out.name}-{uuid.uuid4().hex[:8]}"
        trials = Trials(storage_url(storage, self.work), name)
        self._write_json("study.json", name)  # from here on workers find it
        with contextlib.nullcontext(lambda: None) if ray is None else workers_on_nodes(ray, self.out) as watch:
            yield partial(trials.run, watch=watch)
            trials.end()

    def _rung(
        self, rung: int, sizes: list[int], points: list[Point], ground: Ground, together: Together
    ) -> list[Point]:
        """Train the best of those that were trained in all rungs so far; all come back, the others as they were."""

        def trained() -> Any:
            running = [point for point in points if point.rungs == rung]
            best = promoted(running, sizes[rung], self.settings.max_drop, done_before(rung, len(sizes)))
            seconds = self.budget.left(self._ending(len(points))) / (len(sizes) - rung)
            jobs = [Job(rung, len(sizes), point) for point in best if seconds or not rung]  # each is scored once
            found = {point.name: point for point in points}
            for point in together(jobs, seconds, partial(self.train, ground=ground)):
                found[point.name] = dataclasses.replace(point, rungs=rung + 1)
            return [dataclasses.asdict(point) for point in found.values()]

        after = [Point(**values) for values in self._kept(f"rung-{rung + 1}", trained)]
        for point in after:  # of what there is by now only the last weights are needed from here on
            for folder in {f"{before}-{point.name}" for before in range(rung + 2)} - {point.folder}:
                shutil.rmtree(self.work / folder / "model", ignore_errors=True)
        return after

    def _ending(self, points: int) -> float:
        """Seconds that comparing and testing will take: as long as for the dense model, and an export of each point.

        That is half of what a file takes, the other half is scoring and timing it.
        """
        files = next(step["seconds"] for step in self.steps if step["name"] == "files")
        return float(files) * (1 + points / (2 * len(installed())))

    def _compare(self, points: list[Point], ground: Ground) -> list[Row]:
        """All points in fp32, the fastest inside the budget under everything else, too; beside the dense model."""

        def measured() -> Any:
            inputs, exact = ground.inputs, installed()[0]
            folders = {point.name: self._model(point) for point in points}
            dense = list(dict.fromkeys([ground.rows[0].timing.backend, self._peer(ground).timing.backend]))
            variants = self._variants({DENSE: ground.dense.model_folder}, dense, inputs)
            trimmed = self._variants(folders, [exact], inputs)
            known: dict[tuple[str, str], float] = {(DENSE, row.timing.backend): row.score for row in ground.rows}
            known |= {(point.name, exact): point.score for point in points if point.score is not None}

            def rows(variants: list[Any]) -> list[Row]:
                ran = timed(variants, self._workload(inputs), self.threads)
                pairs = [(timing, known[variant.name, variant.backend]) for variant, timing in ran]
                return [Row(timing, score, 100 * (ground.exact.score - score)) for timing, score in pairs]

            fits = [row for row in rows(trimmed) if inside(row, self.settings.max_drop)]
            if fits:
                name = min(fits, key=lambda row: row.ms).timing.name
                others = self._variants({name: folders[name]}, installed(), inputs)
                metric = inputs.task.metrics[0]
                known |= {
                    (name, v.backend): outcome_of(v, inputs.task, inputs.selection).scores[metric] for v in others
                }
                variants += others
                trimmed = [variant for variant in trimmed if variant.name != name]
            return [dataclasses.asdict(row) for row in rows([*variants, *trimmed])]

        return [Row.from_json(values) for values in self._kept("compare", measured)]

    def _test(self, chosen: Row, points: list[Point], ground: Ground) -> dict[str, Any]:
        """The chosen file against the dense model in PyTorch on the validation rows, seen here for the first time."""

        def tested() -> Any:
            inputs = ground.inputs
            folder = self._folder_of(chosen, points, ground)
            (file,) = self._variants({chosen.timing.name: folder}, [chosen.timing.backend], inputs)
            (dense,) = self._variants({DENSE: ground.dense.model_folder}, ["torch"], inputs)
            before, after = (outcome_of(variant, inputs.task, inputs.validation) for variant in (dense, file))
            resamples = self.recipe.measure.resamples
            test = paired_bootstrap(before.metric, before.answers, after.answers, before.truth, resamples)
            return dataclasses.asdict(test) | {"file": str(file.path)}

        known: dict[str, Any] = self._kept("test", tested)
        return known

    def _leave(
        self, points: list[Point], rows: list[Row], chosen: Row, tested: dict[str, Any], ground: Ground
    ) -> AutopilotReport:
        """Put everything where it belongs and give the folder its name."""
        file = Path(tested.pop("file"))
        place = self.folder / FILE_BACKENDS[chosen.timing.backend].folder
        source = self._folder_of(chosen, points, ground)
        copies = {self.folder / "model": source}
        copies |= {self.folder / "points" / point.name / "model": self._model(point) for point in points}
        for target, folder in copies.items():  # copies: where this is cut, the run can still be resumed
            with atomic_folder(target) as temporary:
                shutil.copytree(folder, temporary, dirs_exist_ok=True)
        with atomic_folder(place) as temporary:
            for part in parts(file):
                shutil.copy2(part, temporary)
            save_tokenizer(load_with_head(source), temporary, load_tokenizer(source))
        report = assemble(
            self.recipe, ground.inputs, points, rows, chosen, tested,
            file=f"{place.name}/{file.name}", steps=self.steps,
        )  # fmt: skip
        write(report, rows, self.folder)
        trainings = [*ground.dense.folder.glob("metrics.jsonl"), *sorted(self.work.glob("*/metrics.jsonl"))]
        with atomic_file(self.folder / "metrics.jsonl") as target:
            target.write_text("".join(lines.read_text("utf-8") for lines in trainings), "utf-8")
        with explain_write_errors(self.out):
            self.folder.rename(self.out)
            shutil.rmtree(self.out / "work")
        return report

    def _workload(self, inputs: Inputs) -> Workload:
        """The batch that is to be fast: of the length asked for, or of the lengths of the selection rows."""
        batch, length = self.recipe.measure.batch[0], self.recipe.measure.length
        if length is None:
            return own_lengths(inputs.selection, [batch])[-1]
        return fixed(inputs.checkpoint.config, batch, length[0])

    def _variants(self, models: dict[str, Path], backends: list[str], inputs: Inputs) -> list[Any]:
        return variants_of(models, backends, self.work / "exports", self.threads, inputs.train)

    def _peer(self, ground: Ground) -> Row:
        """The best file of the dense model, which what is trimmed has to beat."""
        return order([row for row in ground.rows if row.is_file], self.settings.max_drop)[0]

    def _model(self, point: Point) -> Path:
        return self.work / point.folder / "model"

    def _folder_of(self, row: Row, points: list[Point], ground: Ground) -> Path:
        """The model that a row was measured of."""
        found = next((point for point in points if point.name == row.timing.name), None)
        return ground.dense.model_folder if found is None else self._model(found)
