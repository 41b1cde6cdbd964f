"""Does one stage of a run: start, train, decide, save."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired

import torch
from accelerate import Accelerator
from pydantic import BaseModel
from transformers import PreTrainedTokenizerBase
from typing_extensions import TypedDict

from ..console import progress_bar
from ..encoder.checkpoints.load import read_config
from ..encoder.model.exits import without_exits
from ..encoder.model.heads import TrimformerWithHead
from ..errors import explain_write_errors
from ..files import atomic_file, atomic_folder
from ..methods import METHODS, Context
from ..methods.exits.findings import ExitFindings
from ..methods.handed import gates_in, read_handed, write_handed
from ..methods.history import Value
from ..methods.positions.findings import PositionImportance
from ..methods.result import Subnetwork
from ..recipe.settings import StageSettings
from ..starts import STARTS, Origin, Start
from ..tasks.augmentation.info import AugmentationInfo
from ..tasks.cuts import save_cuts
from ..tasks.encoding.couples import whole
from ..training.loop import passes, total_steps, train
from ..training.scale import Scale
from ..work_files import read_work_file
from .augmentation import augmented
from .inputs import Inputs


class StageInfo(TypedDict):
    """What is written down of a finished stage. history: points (step, value) of its curves. clock: seconds. epochs:
    that it was trained for, in passes over the rows that were given; passes: over its own training rows, those of the
    stages before it included. augmentation: what was done to get new rows.
    subnetworks: that were trained inside its model. positions: how much each position of attention counts. exits: what
    they cost and save."""

    history: dict[str, list[tuple[int, Value]]]
    clock: dict[str, float]
    steps: int
    notes: list[str]
    own_tokenizer: NotRequired[bool]
    epochs: NotRequired[float]
    passes: NotRequired[float]
    augmentation: NotRequired[AugmentationInfo]
    subnetworks: NotRequired[list[Subnetwork]]
    positions: NotRequired[PositionImportance]
    exits: NotRequired[ExitFindings]


@dataclasses.dataclass(frozen=True)
class StageResult:
    """What a finished stage left: where its model is, and what the report tells about it."""

    name: str
    folder: Path
    info: dict[str, Any]

    @classmethod
    def read(cls, name: str, folder: Path) -> StageResult:
        """What a stage left in its folder; nothing is known of a folder with a model alone."""
        file = folder / "stage.json"
        remedy = f"delete the folder {folder}, and the stage is done again"
        return cls(name, folder, dict(read_work_file(file, StageInfo, remedy)) if file.is_file() else {})

    @property
    def model_folder(self) -> Path:
        return self.folder / "model"

    @property
    def origin(self) -> Origin:
        """The model for another stage to start from."""
        own_tokenizer, found = self.info.get("own_tokenizer", False), gates_in(read_handed(self.folder))
        return Origin(read_config(self.model_folder), own_tokenizer, self.model_folder, found if found.given else None)


class Stages:
    """Does the stages of a run with the same inputs.

    work: a folder for what stages share on disk.
    """

    def __init__(self, inputs: Inputs, accelerator: Accelerator, seed: int, work: Path) -> None:
        self.inputs, self.accelerator, self.seed, self.work = inputs, accelerator, seed, work
        self.scale = Scale.of(inputs.train)

    def run(
        self,
        stage: StageSettings,
        number: int,
        folder: Path,
        before: Sequence[StageResult],
        deadline: float | None = None,
    ) -> StageResult:
        """Train, decide, save; a stage is done when its model is in its folder, and what is there is not done again.

        number: of the stage, for its random numbers; before: the dense model and what else was left, in order: rows are
        drawn on in the order in which the last of these stopped.
        deadline: of the training, on the clock of ``time.monotonic``.
        """
        result_file = folder / "stage.json"
        if (folder / "model").is_dir():
            remove_training_files(folder)
            remedy = f"delete the folder {folder}, and the stage is done again"
            return StageResult(stage.name, folder, read_work_file(result_file, StageInfo, remedy))
        begin = before[-1].info.get("passes", 0.0) if before else 0.0
        if self.accelerator.is_main_process:
            with explain_write_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        self.accelerator.wait_for_everyone()
        seed = self.seed + 1000 * (number + 2)
        torch.manual_seed(seed)
        inputs, made = self._augmented(stage, before)
        method = METHODS[stage.method.name](stage.method, self.context(stage, before, inputs))
        context = method.context  # a search has put some rows aside
        torch.manual_seed(seed + self.accelerator.process_index)
        steps = 0
        if method.trains:
            with progress_bar(self.accelerator.is_main_process) as progress:
                steps = train(
                    method,
                    context.rows,
                    stage.training,
                    self.accelerator,
                    folder,
                    seed=self.seed,
                    title=stage.name,
                    progress=progress,
                    deadline=deadline,
                    begin=begin,
                )
        result = method.result()
        if not method.nests:
            result.model.config.nested = None
        if not method.rounds:  # those of the stage before belong to other weights
            result.model.config.input_ranges = None
        info: dict[str, Any] = {
            "history": method.history.state_dict(),
            "clock": method.clock.per_step(steps),
            "steps": steps,
            "epochs": stage.training.epochs * steps / context.steps * self._share(stage, inputs),
            "passes": begin + passes(steps, len(context.rows), stage.training, self.accelerator.num_processes),
            "notes": [f"{stage.name}: {note}" for note in result.notes],
            "own_tokenizer": result.tokenizer is not None or self._start(stage, before).own_tokenizer,
        }
        if made is not None:
            info |= {"notes": [f"{stage.name}: {made.sentence()}", *info["notes"]], "augmentation": made}
        if result.subnetworks:
            info |= {"subnetworks": list(result.subnetworks)}
        if result.positions is not None:
            info |= {"positions": result.positions}
        if result.exits is not None:
            info |= {"exits": result.exits}
        if self.accelerator.is_main_process:
            with atomic_file(result_file) as file:
                file.write_text(json.dumps(info, default=BaseModel.model_dump), encoding="utf-8")
            if result.handed:
                write_handed(folder, result.handed)
            self.save(self.scale.fold(result.model), folder / "model", result.tokenizer or context.tokenizer)
            remove_training_files(folder)
        self.accelerator.free_memory()
        self.accelerator.wait_for_everyone()
        return StageResult(stage.name, folder, info)

    def _augmented(self, stage: StageSettings, before: Sequence[StageResult]) -> tuple[Inputs, AugmentationInfo | None]:
        """The inputs of a stage, with the new rows that it asks for, and what was done to get these."""
        if stage.augment is None:
            return self.inputs, None
        with self.accelerator.main_process_first():
            return augmented(stage.augment, self.inputs, before[0].origin.model())

    def _share(self, stage: StageSettings, inputs: Inputs) -> float:
        """How many times as many rows a stage learns from, with its new rows, as were given."""
        return len(inputs.learned(stage.objective)) / len(self.inputs.learned(stage.objective))

    def context(self, stage: StageSettings, before: Sequence[StageResult], inputs: Inputs | None = None) -> Context:
        """What the method of a stage is given, numbers in units of ``scale``. before: as in :meth:`run`.

        inputs: with the stage's new rows; None: it has none.
        """
        inputs = inputs or self.inputs
        start = self._start(stage, before)
        model, own = start.model(), inputs.read_with(start.tokenizer())
        teaches = stage.objective.needs_teacher or METHODS[stage.method.name].needs_dense
        model = model if start.new_head else self.scale.unfold(model)
        rows = own.learned(stage.objective)
        return Context(
            model=model,
            teacher=self.scale.unfold(without_exits(before[-1 if stage.teacher == "previous" else 0].origin.model()))
            if teaches
            else None,
            task=own.task,
            train=self.scale.rows(own.train),
            distilled=None if rows is own.train else self.scale.rows(rows),
            selection=self.scale.rows(own.selection),
            training=stage.training,
            objective=stage.objective,
            accelerator=self.accelerator,
            seed=self.seed,
            steps=total_steps(len(whole(rows)), stage.training, self.accelerator.num_processes),
            folder=self.work,
            tokenizer=own.tokenizer,
            handed=read_handed(before[-1].folder) if before and stage.start.name == "previous" else {},
            teacher_train=inputs.learned(stage.objective) if teaches and start.own_tokenizer else None,
        )

    def _start(self, stage: StageSettings, before: Sequence[StageResult]) -> Start:
        there = (before[0].origin, before[-1].origin) if before else ()
        return STARTS[stage.start.name](stage.start, self.inputs.origins(*there))

    def save(self, model: TrimformerWithHead, folder: Path, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        """Write a model and its tokenizer, None: that of the inputs, which cuts texts as the run does."""
        tokenizer, cuts = copy.deepcopy(tokenizer or self.inputs.tokenizer), self.inputs.cuts
        # Who uses the model cuts texts as those were cut that its score was measured on.
        save_cuts(tokenizer, cuts._replace(max_length=min(cuts.max_length, model.config.max_tokens)))
        with atomic_folder(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)


def remove_training_files(folder: Path) -> None:
    """Delete what only a cut training needs."""
    for leftover in [*folder.glob("state-*.pt"), folder / "best.pt"]:
        leftover.unlink(missing_ok=True)
