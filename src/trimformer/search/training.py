"""A candidate's training in a rung of the search, and all of a rung one after the other."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..console import console
from ..encoder.checkpoints.load import load_with_head, read_config
from ..errors import TrimformerError
from ..hardware import usable_cores
from ..methods import METHODS
from ..pipeline.inputs import Inputs
from ..pipeline.run import Run, StageResult
from ..recipe.settings import Recipe, StageSettings
from ..recipe.standard import DISTILLED
from ..tasks.batches import bucketed_batches
from ..tasks.outcome import outcome
from ..training.evaluate import predict_logits
from ..training.matching import match_layers
from ..training.settings import ObjectiveSettings, TrainingSettings
from ..training.teacher_cache import LARGEST, parts_of, size_of
from .budget import TimeBudget, epochs_within, share
from .candidates import LAYERS
from .files import Row
from .halving import Point, epochs_of

REPAIR = 2
"""The finalists are trained for as many times the epochs of the settings, as in the standard recipe's two stages."""
TRIAL = 5
"""Steps that are timed before a training is planned."""
FORWARD = 1 / 3
"""What scoring takes at the most, as a share of the time of steps for as many rows."""
ASKING = 0.1
"""Share of the time that is left which may go into writing down the teacher's answers."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """What the search stands on. rows: the dense model under everything that runs here, the reference first."""

    inputs: Inputs
    dense: StageResult
    rows: list[Row]

    @property
    def exact(self) -> Row:
        """The dense model in PyTorch, whose selection score drops are counted from."""
        return next(row for row in self.rows if row.timing.backend == "torch")


@dataclasses.dataclass(frozen=True)
class Job:
    """A candidate to be trained further, in one of so many rungs; the first one is 0."""

    rung: int
    rungs: int
    point: Point

    def __str__(self) -> str:
        return f"rung {self.rung + 1} of {self.rungs}, {self.point.name}: {self.point.removed}"


Train = Callable[[Job, float], Point]
"""Does a job within so many seconds."""
Together = Callable[[Sequence[Job], float, Train], Iterable[Point]]
"""Does all jobs of a rung within so many seconds."""


def one_by_one(jobs: Sequence[Job], seconds: float, train: Train) -> Iterator[Point]:
    """The jobs done by this process, within so many seconds for all."""
    end = time.monotonic() + seconds
    for place, job in enumerate(jobs, 1):
        yield train(job, share(end - time.monotonic(), len(jobs) - place))


class Trainer(Run):
    """What trains candidates in the folder of a search."""

    def __init__(self, recipe: Recipe, resume: bool) -> None:
        super().__init__(recipe, resume)
        if recipe.autopilot is None:
            raise TrimformerError("This recipe has stages and no autopilot: use `trimformer run` or compress.")
        if self.accelerator.num_processes > 1:
            raise TrimformerError("The autopilot measures this machine and so runs in one process: start it alone.")
        self.settings = recipe.autopilot
        self.threads = recipe.measure.threads or usable_cores()
        self.budget = TimeBudget(self.settings.time_budget, sum(step["seconds"] for step in self.steps))

    def train(self, job: Job, seconds: float, ground: Ground) -> Point:
        """Distil from the dense model for the epochs of this rung, or those that fit into so many seconds."""
        console.print(str(job))
        inputs, settings, point = ground.inputs, self.settings.training, job.point
        epochs = epochs_of(job.rung, job.rungs, REPAIR * settings.epochs)
        # The best of many epochs on the rows that also decide on the budget would look better than it is.
        training = settings.model_copy(update={"epochs": epochs, "keep_best": False})
        objective = self._objective(ground)
        before = [ground.dense, StageResult(point.name, self.work / point.folder, {})]
        self.deadline = self.budget.deadline(seconds)

        def planned() -> tuple[float, float]:
            """The epochs, and the seconds that scoring takes after them."""
            if self.deadline is None:
                return epochs, 0.0
            step = self._seconds_of_a_step(stage_of(point.name, training, objective), inputs, before)
            scoring = FORWARD * step * len(inputs.selection) / (training.batch_size * training.accumulate)
            left = self.deadline - self.budget.clock() - scoring
            return epochs_within(left, step, len(inputs.train), training), scoring

        epochs, scoring = self._kept(f"plan-{job.rung + 1}-{point.name}", planned)
        if self.deadline is not None:
            self.deadline -= scoring
        stage = stage_of(point.name, training.model_copy(update={"epochs": epochs}), objective)
        result = self._stage(job.rung + 1, stage, inputs, before)
        model: Any = load_with_head(result.model_folder)
        logits = predict_logits(model.to(self.accelerator.device), inputs.selection)
        score = outcome(inputs.task, inputs.selection, logits).scores[inputs.task.metrics[0]]
        drop = 100 * (ground.exact.score - score)
        return dataclasses.replace(
            point, score=score, drop=drop, epochs=point.epochs + epochs, folder=result.folder.name
        )

    def _objective(self, ground: Ground) -> ObjectiveSettings:
        """Distillation, from kept answers where there is room and time: all candidates learn from the same ones."""

        def fits() -> bool:
            dense = read_config(ground.dense.model_folder)
            parts = parts_of(DISTILLED, match_layers(DISTILLED, dense, dense), dense)
            room = min(LARGEST, shutil.disk_usage(self.work).free // 2)
            train, copies = ground.inputs.train, len(LAYERS)  # students of each depth have their own
            speed = ground.exact.timing.sequences_per_s
            assert speed is not None
            in_time = copies * len(train) / speed <= ASKING * self.budget.left()
            return in_time and copies * size_of(parts, train) <= room

        return DISTILLED.model_copy(update={"cache": self._kept("cache", fits)})

    def _seconds_of_a_step(self, stage: StageSettings, inputs: Inputs, before: list[StageResult]) -> float:
        """Measured on the first batches, with weights that are thrown away."""
        method = METHODS["none"](stage.method, self._context(stage, inputs, before))
        size = stage.training.batch_size
        batches = itertools.cycle(bucketed_batches(inputs.train.lengths, size, self.recipe.seed, 0))
        started = 0.0
        for step in range(TRIAL + 1):
            if step == 1:  # the first one pays for what is made once
                started = time.perf_counter()
            for _ in range(stage.training.accumulate):
                batch = inputs.train.batch(next(batches))
                method.micro_step({k: v.to(self.accelerator.device) for k, v in batch.items()}, 1.0)
            method.update(step)
        self.accelerator.free_memory()
        return (time.perf_counter() - started) / TRIAL

    def _kept(self, name: str, work: Callable[[], Any]) -> Any:
        """Plain values that are worked out once, and read when the run is resumed."""
        known = self._read_json(f"{name}.json", None)
        if known is None:
            known = work()
            self._write_json(f"{name}.json", known)
        return known


def stage_of(name: str, training: TrainingSettings, objective: ObjectiveSettings) -> StageSettings:
    """Plain training as a stage."""
    return StageSettings.model_validate(
        {"name": name, "method": {"name": "none"}, "objective": objective, "training": training}
    )
