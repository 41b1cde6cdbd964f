"""A candidate's training in a rung of the search."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..console import console
from ..cores import usable_cores
from ..encoder.checkpoints.load import load_with_head, read_config
from ..errors import TrimformerError
from ..methods import METHODS
from ..methods.base import DISTILLED
from ..pipeline.accelerator import prepared
from ..pipeline.dense import make_dense
from ..pipeline.inputs import Inputs
from ..pipeline.run import read_all
from ..pipeline.run_folder import RunFolder
from ..pipeline.stages import StageResult, Stages
from ..recipe.settings import Recipe, StageSettings
from ..tasks.encoding.batches import bucketed_batches
from ..tasks.encoding.encoded import Encoded
from ..tasks.outcome import outcome
from ..training.evaluate import predict_logits
from ..training.memory import freed_memory_kept
from ..training.objective import readings_of, terms_of
from ..training.settings import ObjectiveSettings, TrainingSettings
from ..training.teacher_cache import LARGEST, size_of
from .confirmation import set_apart
from .executors.job import TrainingJob
from .measurement import Measurement
from .schedule.budget import TimeBudget, epochs_within
from .schedule.halving import Point, epochs_of
from .schedule.plan import DENSE, Plan, share_out
from .space import LAYERS

TWICE = 2
"""The finalists are trained for as many times the epochs of the settings, as in the standard recipe's two stages."""
NEARLY = 0.99
"""Share of its epochs that a model has been trained for which is called trained to the end."""
PLAIN = {"name": "finetune"}
TRIAL = 5
"""Steps that are timed before a training is planned."""
FORWARD = 1 / 3
"""What scoring takes at the most, as a share of the time of steps for as many rows."""
POST_TRAINING = 180.0
"""Seconds that a search without training takes where nobody says more."""
ASKING = 0.1
"""Share of the time that is left which may go into writing down the teacher's answers."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """What the search stands on. measured: the dense model under what was tried, the reference first."""

    inputs: Inputs
    dense: StageResult
    measured: list[Measurement]

    @property
    def exact(self) -> Measurement:
        """The dense model in PyTorch, whose selection score drops are counted from."""
        return next(one for one in self.measured if one.timing.backend == "torch")

    @property
    def speed(self) -> float:
        """Texts in a second that it takes, one by one."""
        speed = self.exact.timing.sequences_per_s
        assert speed is not None
        return speed

    @property
    def files(self) -> list[str]:
        """The back-ends of files that were tried, fp32 first."""
        return [one.timing.backend for one in self.measured if one.is_file]

    def scored(self, logits: np.ndarray, rows: Encoded | None = None) -> tuple[float, float]:
        """The score of these answers to the selection rows, and the drop below the dense model's.

        rows: as another tokenizer encodes them; None: as the dense model reads them.
        """
        task = self.inputs.task
        score = outcome(task, self.inputs.selection if rows is None else rows, logits).scores[task.metrics[0]]
        return score, task.metric.drop(score - self.exact.score)


class Trainer:
    """What trains candidates in the folder of a search."""

    stages: Stages
    confirming: Encoded  # rows that choose nothing, on which files are confirmed
    deadline: float | None = None  # of trainings, on the clock of time.monotonic

    def __init__(self, recipe: Recipe, resume: bool) -> None:
        self.recipe, self.accelerator = prepared(recipe)
        self.folder = RunFolder(self.recipe, resume, self.accelerator)
        if recipe.autopilot is None:
            raise TrimformerError("This recipe has stages and no autopilot: use `trimformer run` or compress.")
        if self.accelerator.num_processes > 1:
            raise TrimformerError("The autopilot measures this machine and so runs in one process: start it alone.")
        self.settings = recipe.autopilot
        self.threads = recipe.measure.threads or usable_cores()
        seconds = self.settings.time_budget or (POST_TRAINING if self.settings.post_training else None)
        self.budget = TimeBudget(seconds, sum(step["seconds"] for step in self.folder.steps))

    @property
    def fitted(self) -> bool:
        """Whether only what can be fitted in closed form is tried: where little or nothing is trained afterwards."""
        return not math.isinf(self.budget.end)

    def load(self) -> Inputs:
        """Read everything that the search starts from; from then on there are stages."""
        given, baseline = read_all(self.recipe, self.accelerator)
        inputs, self.confirming = set_apart(given, self.settings.confirmation, self.recipe.seed)
        self.folder.begin(given, baseline)  # where nothing is left that may be refused
        self.stages = Stages(inputs, self.accelerator, self.recipe.seed, self.folder.work)
        return inputs

    def plan(self, inputs: Inputs) -> Plan:
        """How the time that is left is shared out, by a few steps of the dense model."""
        training, trains = self.recipe.dense, not self.settings.post_training
        given = inputs.has_trained_head or self.recipe.baseline is not None
        epochs, need = training.epochs, 0.0
        if not given and not math.isinf(self.budget.end):
            stage = stage_of("dense", training, ObjectiveSettings(), start="pretrained")
            step = self._seconds_of_a_step(stage, inputs, [])
            rows = len(inputs.train) + FORWARD * len(inputs.selection)  # scored after each epoch
            per_epoch = step * rows / (training.batch_size * training.accumulate)
            need, most = epochs * per_epoch, DENSE * self.budget.left()
            if need > most:
                need = most
                epochs = epochs_within(need * len(inputs.train) / rows, step, len(inputs.train), training)
        return Plan(**share_out(self.budget.left(), need, trains=trains), epochs=epochs, asked=training.epochs)

    def dense(self, epochs: float | None = None) -> StageResult:
        """The dense model, by the deadline. epochs: None, as many as the settings say."""
        recipe = self.recipe
        if epochs is not None:
            recipe = recipe.model_copy(update={"dense": recipe.dense.model_copy(update={"epochs": epochs})})
        return make_dense(recipe, self.stages, self.folder.path / "dense", self.deadline)

    def train(self, job: TrainingJob, seconds: float, ground: Ground) -> Point:
        """Distil from the dense model for the epochs of this rung, or those that fit into the seconds."""
        console.print(str(job))
        inputs, settings, point = ground.inputs, self.settings.training, job.point
        epochs = epochs_of(job.rung, job.rungs, TWICE * settings.epochs)
        # The best of many epochs on the rows that also decide on the budget would look better than it is.
        training = settings.model_copy(update={"epochs": epochs, "keep_best": False})
        objective = self._objective(ground)
        last = StageResult.read(point.name, self.folder.work / point.folder)
        # What was only looked at goes on in the order of the rows where the dense model stopped.
        before = [ground.dense, dataclasses.replace(last, info=last.info or ground.dense.info)]
        stage = stage_of(point.name, training, objective)
        stage = self.within(seconds, stage, f"plan-{job.rung + 1}-{point.name}", before)
        folder = self.folder.work / f"{job.rung + 1}-{point.name}"
        result = self.stages.run(stage, job.rung + 1, folder, before, self.deadline)
        model: Any = load_with_head(result.model_folder)
        score, drop = ground.scored(predict_logits(model.to(self.accelerator.device), inputs.selection))
        epochs = point.epochs + float(result.info["epochs"])  # fewer than planned where time was over
        return dataclasses.replace(point, score=score, drop=drop, epochs=epochs, folder=result.folder.name)

    def within(self, seconds: float, stage: StageSettings, name: str, before: list[StageResult]) -> StageSettings:
        """The stage with the epochs that fit into the seconds beside its scoring, which ``deadline`` leaves time for.

        name: under which they are kept. before: as the stage gets it.
        """
        self.deadline = self.budget.deadline(seconds)
        training, inputs = stage.training, self.stages.inputs

        def planned() -> tuple[float, float]:
            """The epochs, and the seconds that scoring takes after them."""
            if self.deadline is None:
                return training.epochs, 0.0
            step = self._seconds_of_a_step(stage, inputs, before)
            scoring = FORWARD * step * len(inputs.selection) / (training.batch_size * training.accumulate)
            left = self.deadline - self.budget.clock() - scoring
            return epochs_within(left, step, len(inputs.learned(stage.objective)), training), scoring

        epochs, scoring = self.folder.kept(name, tuple[float, float], planned)
        if self.deadline is not None:
            self.deadline -= scoring
        return stage.model_copy(update={"training": training.model_copy(update={"epochs": epochs})})

    def _objective(self, ground: Ground) -> ObjectiveSettings:
        """Distillation, from kept answers where there is room and time: all candidates learn from the same ones."""

        def fits() -> bool:
            dense = read_config(ground.dense.model_folder)
            readings = readings_of(terms_of(DISTILLED, dense, dense))
            room = min(LARGEST, shutil.disk_usage(self.folder.work).free // 2)
            rows, copies = (
                ground.inputs.learned(DISTILLED),
                1 if self.fitted else len(LAYERS),
            )  # students of each depth have their own
            in_time = copies * len(rows) / ground.speed <= ASKING * self.budget.left()
            return in_time and copies * size_of(readings, rows) <= room

        return DISTILLED.model_copy(update={"cache": self.folder.kept("cache", bool, fits)})

    def _seconds_of_a_step(self, stage: StageSettings, inputs: Inputs, before: list[StageResult]) -> float:
        """Measured on the first batches, with weights that are thrown away."""
        context = self.stages.context(stage, before)
        method = METHODS[stage.method.name](stage.method, context)
        size, rows = stage.training.batch_size, context.rows
        batches = itertools.cycle(bucketed_batches(rows.lengths, size, self.recipe.seed, 0))
        started = 0.0
        with freed_memory_kept():  # as in a training
            for step in range(TRIAL + 1):
                if step == 1:  # the first one pays for what is made once
                    started = time.perf_counter()
                for _ in range(stage.training.accumulate):
                    batch = rows.batch(next(batches))
                    method.micro_step({k: v.to(self.accelerator.device) for k, v in batch.items()}, 1.0)
                method.update(step)
            taken = time.perf_counter() - started
        self.accelerator.free_memory()
        return taken / TRIAL


def stage_of(
    name: str,
    training: TrainingSettings,
    objective: ObjectiveSettings,
    start: str = "previous",
    method: Mapping[str, Any] = PLAIN,
) -> StageSettings:
    """Training as a stage, plain if no method is named."""
    return StageSettings.model_validate(
        {"name": name, "method": method, "start": start, "objective": objective, "training": training}
    )
