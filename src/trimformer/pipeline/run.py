"""Run a recipe: load, dense baseline, stages, measure, export, report; every step is kept, so a cut run can go on."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from ..console import progress_bar
from ..deploy.onnx import require_onnx
from ..encoder.checkpoints.load import build, load, load_tokenizer, load_with_head, read_checkpoint
from ..encoder.gating.trim import trim
from ..encoder.model.heads import TrimformerWithHead
from ..errors import TrimformerError
from ..files import atomic_file, atomic_folder, explain_write_errors
from ..hardware import has_native_bf16
from ..methods import METHODS, Context
from ..recipe.settings import Recipe, StageSettings
from ..report.schema import Report
from ..report.templating import require_packages
from ..tasks.encode import encode
from ..tasks.task import load_task
from ..training.loop import total_steps, train
from ..training.matching import check_layer_map, match_layers
from ..training.teacher_cache import check_size, parts_of
from .inputs import Inputs, match_head
from .results import assemble, export_model, measure
from .run_folder import RunFolder


def run(recipe: Recipe, *, resume: bool = False) -> Report:
    """Run a recipe to its end and return the report that was written to ``recipe.out``.

    resume: go on with the unfinished run in ``OUT.partial``; finished steps are not repeated, and training continues
        from its last saved state as if it had never stopped.
    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    if recipe.autopilot is not None:
        raise TrimformerError("This recipe has an autopilot and no stages: use `trimformer run` or compress_within.")
    return Run(recipe, resume).execute()


@dataclasses.dataclass(frozen=True)
class StageResult:
    """What a finished stage left: where its model is, and what the report tells about it."""

    name: str
    folder: Path
    info: dict[str, Any]

    @property
    def model_folder(self) -> Path:
        return self.folder / "model"


class Run(RunFolder):
    """One run of a recipe in its folder."""

    deadline: float | None = None  # of trainings, on the clock of time.monotonic

    def __init__(self, recipe: Recipe, resume: bool) -> None:
        precision = recipe.precision
        if precision == "auto":
            precision = "bf16" if has_native_bf16() else "fp32"
        super().__init__(recipe.model_copy(update={"precision": precision}), resume, _accelerator(precision))

    def execute(self) -> Report:
        inputs = self._step("load", self._load)
        dense = self._step("dense", lambda: self._dense(inputs))
        results = [dense]
        for index, stage in enumerate(self.recipe.stages):
            results.append(self._step(stage.name, partial(self._stage, index, stage, inputs, results)))
        report = None
        if self.accelerator.is_main_process:
            report = self._finish(inputs, results)
        self.accelerator.wait_for_everyone()
        if report is None:
            report = Report.model_validate_json((self.out / "report.json").read_text(encoding="utf-8"))
        return report

    def _finish(self, inputs: Inputs, results: list[StageResult]) -> Report:
        """Measure, export, report; then give the folder its name."""
        dense, trimmed = results[0].model_folder, results[-1].model_folder
        measured = self._step("measure", lambda: self._measure(inputs, dense, trimmed))
        exported = self._step("export", lambda: export_model(self.recipe.export, trimmed, self.folder / "onnx"))
        notes = inputs.notes + [note for result in results for note in result.info["notes"]]
        report = assemble(
            self.recipe,
            inputs=inputs,
            measured=measured,
            exported=exported,
            stages={result.name: result.info for result in results},
            steps=self.steps,
            notes=notes,
            trimmed=trimmed,
            folder=self.folder,
        )
        lines = [(result.folder / "metrics.jsonl") for result in results]
        with atomic_file(self.folder / "metrics.jsonl") as file:
            file.write_text("".join(line.read_text("utf-8") for line in lines if line.is_file()), "utf-8")
        with explain_write_errors(self.out):
            self.folder.rename(self.out)
            shutil.rmtree(self.out / "work")
        return report

    def _load(self) -> Inputs:
        recipe = self.recipe
        require_packages()
        if recipe.export.onnx:
            require_onnx()
        checkpoint = read_checkpoint(recipe.model)
        tokenizer = load_tokenizer(recipe.model)
        if any(shape.attention != "full" for shape in checkpoint.config.shapes):
            raise TrimformerError(
                f"{recipe.model} has layers without attention already: give the dense model that it was made from."
            )
        for stage in recipe.stages:
            METHODS[stage.method.name].check(stage.method, checkpoint.config)
        if max(recipe.measure.length or [0]) > checkpoint.config.max_tokens:
            raise TrimformerError(
                f"measure.length: {recipe.model} takes at most {checkpoint.config.max_tokens} tokens, "
                f"not {max(recipe.measure.length or [0])}."
            )
        processes = self.accelerator.num_processes
        with self.accelerator.main_process_first():
            data = load_task(recipe.task, recipe.seed)
            checkpoint, data, trained, notes = match_head(checkpoint, data)
            length = min(recipe.task.max_length, checkpoint.config.max_tokens)
            train, selection, validation = (
                encode(
                    data.task,
                    split,
                    tokenizer,
                    length,
                    truncation=recipe.task.truncation,
                    stride=recipe.task.stride,
                )
                for split in (data.train, data.selection, data.validation)
            )
        largest = max(training.batch_size for training in [recipe.dense, *(s.training for s in recipe.stages)])
        if -(-len(train) // largest) < processes:
            raise TrimformerError(
                f"{len(train)} training examples do not fill one batch of {largest} for each of {processes} "
                "processes: lower the batch size."
            )
        if validation.truncated:
            what = {"tokens": "sentences", "spans": "questions"}.get(data.task.kind, "texts")
            where = "" if data.task.kind == "spans" else f" at {length} tokens"
            notes.append(f"{validation.truncated} of {len(data.validation)} validation {what} were cut{where}.")
        inputs = Inputs(checkpoint, trained, tokenizer, data.task, train, selection, validation, notes)
        self._check_objectives(inputs)
        self._pretrained(inputs)  # do the weights fit?
        if recipe.baseline is not None:
            self._given_baseline(inputs)
        self._make_folder()
        return inputs

    def _check_objectives(self, inputs: Inputs) -> None:
        """Refuse before any training what can be known of the students by then."""
        dense = inputs.checkpoint.config
        for index, stage in enumerate(self.recipe.stages):
            check_layer_map(stage.objective, dense)
            if index == 0 or stage.start != "previous":  # else its student is what another stage leaves
                matching = match_layers(stage.objective, dense, dense)
                if stage.objective.cache:
                    check_size(parts_of(stage.objective, matching, dense), inputs.train)

    def _dense(self, inputs: Inputs) -> StageResult:
        """The baseline and teacher: fine-tuned here, unless there is one with a head for these labels already."""
        if self.recipe.baseline is not None or inputs.has_trained_head:
            folder = self.folder / "dense"
            result = StageResult("dense", folder, {"notes": [], "clock": {}, "history": None})
            if not result.model_folder.is_dir() and self.accelerator.is_main_process:
                self._save_model(self._given_baseline(inputs), inputs, result.model_folder)
            self.accelerator.wait_for_everyone()
            return result
        stage = StageSettings.model_validate(
            {
                "name": "dense",
                "method": {"name": "none"},
                "start": "pretrained",
                "training": self.recipe.dense,
            }
        )
        return self._stage(-1, stage, inputs, [])

    def _given_baseline(self, inputs: Inputs) -> TrimformerWithHead:
        if self.recipe.baseline is None:
            return build(inputs.checkpoint)  # type: ignore[return-value]
        model = load(self.recipe.baseline)
        wanted = inputs.checkpoint.config
        if (
            not isinstance(model, TrimformerWithHead)
            or model.kind != inputs.task.kind
            or (inputs.task.labels and model.config.label_names != list(inputs.task.labels))
            or (model.config.shapes, model.config.hidden_size) != (wanted.shapes, wanted.hidden_size)
        ):
            raise TrimformerError(
                f"The baseline {self.recipe.baseline} is not {self.recipe.model} fine-tuned on this task: its layers, "
                "width and labels, in the same order, must be the same."
            )
        return model

    def _stage(self, index: int, stage: StageSettings, inputs: Inputs, before: list[StageResult]) -> StageResult:
        """Train, decide, trim, save; a stage is done when its model folder is there."""
        folder = self.folder / "dense" if index < 0 else self.work / f"{index}-{stage.name}"
        result_file = folder / "stage.json"
        if (folder / "model").is_dir():
            remove_training_files(folder)
            return StageResult(stage.name, folder, json.loads(result_file.read_text("utf-8")))
        if self.accelerator.is_main_process:
            with explain_write_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        self.accelerator.wait_for_everyone()
        seed = self.recipe.seed
        torch.manual_seed(seed + 1000 * (index + 2))
        method = METHODS[stage.method.name](stage.method, self._context(stage, inputs, before))
        torch.manual_seed(seed + 1000 * (index + 2) + self.accelerator.process_index)
        steps = 0
        if method.trains:
            with progress_bar(self.accelerator.is_main_process) as progress:
                steps = train(
                    method,
                    inputs.train,
                    stage.training,
                    self.accelerator,
                    folder,
                    seed=seed,
                    title=stage.name,
                    progress=progress,
                    deadline=self.deadline,
                )
        gates = method.decide()
        model = trim(method.model, gates).cpu()
        info = {
            "history": method.history.state_dict(),
            "clock": method.clock.per_step(steps),
            "steps": steps,
            "notes": [f"{stage.name}: {note}" for note in method.notes()],
        }
        if self.accelerator.is_main_process:
            with atomic_file(result_file) as file:
                file.write_text(json.dumps(info), encoding="utf-8")
            self._save_model(model, inputs, folder / "model")
            remove_training_files(folder)
        self.accelerator.free_memory()
        self.accelerator.wait_for_everyone()
        return StageResult(stage.name, folder, info)

    def _context(self, stage: StageSettings, inputs: Inputs, before: list[StageResult]) -> Context:
        return Context(
            model=self._start_model(stage, inputs, before),
            teacher=self._dense_model(before) if stage.objective.needs_teacher else None,
            task=inputs.task,
            train=inputs.train,
            selection=inputs.selection,
            training=stage.training,
            objective=stage.objective,
            accelerator=self.accelerator,
            seed=self.recipe.seed,
            steps=total_steps(len(inputs.train), stage.training, self.accelerator.num_processes),
            folder=self.work,
        )

    def _start_model(self, stage: StageSettings, inputs: Inputs, before: list[StageResult]) -> TrimformerWithHead:
        if stage.start == "pretrained":
            return self._pretrained(inputs)
        if stage.start == "dense":
            return self._dense_model(before)
        return load_with_head(before[-1].model_folder)

    def _pretrained(self, inputs: Inputs) -> TrimformerWithHead:
        """The checkpoint itself, with a new head unless its own was trained for these labels."""
        model: Any = (
            build(inputs.checkpoint)
            if inputs.has_trained_head
            else build(inputs.checkpoint, labels=inputs.task.labels, kind=inputs.task.kind)
        )
        return model

    def _dense_model(self, before: list[StageResult]) -> TrimformerWithHead:
        return load_with_head(before[0].model_folder)

    def _save_model(self, model: TrimformerWithHead, inputs: Inputs, folder: Path) -> None:
        tokenizer = copy.deepcopy(inputs.tokenizer)
        # Who uses the model cuts texts as those were cut that its score was measured on.
        tokenizer.model_max_length = min(self.recipe.task.max_length, model.config.max_tokens)
        if self.recipe.task.truncation == "tail":
            tokenizer.truncation_side = "left"
            tokenizer.init_kwargs["truncation_side"] = "left"  # only what stands here is saved, as the attribute has it
        with atomic_folder(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)

    def _measure(self, inputs: Inputs, dense: Path, trimmed: Path) -> dict[str, Any]:
        known = self._read_json("measure.json", None)
        if known is None:
            known = measure(self.recipe.measure, inputs.task, inputs.validation, dense, trimmed)
            self._write_json("measure.json", known)
        return known


def remove_training_files(folder: Path) -> None:
    """Delete what only a cut training needs."""
    for leftover in [*folder.glob("state-*.pt"), folder / "best.pt"]:
        leftover.unlink(missing_ok=True)


def _accelerator(precision: str) -> Accelerator:
    try:
        return Accelerator(
            mixed_precision="bf16" if precision == "bf16" else "no",
            # A gated-off layer leaves weights without a gradient in that step.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except ValueError as error:  # Accelerate fixes the precision with the first run of a process
        raise TrimformerError(
            f"This process has trained in another precision than {precision}: start a new one for this run."
        ) from error
