"""Run a recipe: load, dense baseline, stages, export, measure, report; every step is kept, so a cut run can go on."""

from __future__ import annotations

from functools import partial
from typing import Any

from accelerate import Accelerator

from ..encoder.model.heads import TrimformerWithHead
from ..errors import TrimformerError
from ..recipe.settings import Recipe
from ..report.schema import Report
from .accelerator import prepared
from .control import check_control, train_control, training_info
from .dense import given_dense, make_dense
from .inputs import Inputs, load_inputs
from .results import Measured, assemble, export_model, measure, notes_of
from .run_folder import RunFolder
from .stages import StageResult, Stages


def run(recipe: Recipe, *, resume: bool = False) -> Report:
    """Run a recipe to its end and return the report that was written to ``recipe.out``.

    resume: go on with the unfinished run in ``OUT.partial``; finished steps are not repeated, and training continues
        from its last saved state as if it had never stopped.
    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    if recipe.autopilot is not None:
        raise TrimformerError("This recipe has an autopilot and no stages: use `trimformer run` or compress_within.")
    check_control(recipe)
    recipe, accelerator = prepared(recipe)
    folder = RunFolder(recipe, resume, accelerator)
    with folder.claimed():
        return _run(recipe, folder, accelerator)


def _run(recipe: Recipe, folder: RunFolder, accelerator: Accelerator) -> Report:
    inputs = folder.step("load", lambda: begin(recipe, folder, accelerator))
    stages = Stages(inputs, accelerator, recipe.seed, folder.work)
    results = [folder.step("dense", lambda: make_dense(recipe, stages, folder.path / "dense"))]
    for number, stage in enumerate(recipe.stages):
        place = folder.work / f"{number}-{stage.name}"
        results.append(folder.step(stage.name, partial(stages.run, stage, number, place, results)))
    control = train_control(recipe, folder, stages, results[0])
    report = _finish(recipe, folder, inputs, results, control) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    return report or Report.model_validate_json((folder.out / "report.json").read_text(encoding="utf-8"))


def begin(recipe: Recipe, folder: RunFolder, accelerator: Accelerator) -> Inputs:
    """Read and check everything that a run starts from, and only then make its folder."""
    inputs, baseline = read_all(recipe, accelerator)
    folder.begin(inputs, baseline)
    return inputs


def read_all(recipe: Recipe, accelerator: Accelerator) -> tuple[Inputs, TrimformerWithHead | None]:
    """What a run starts from, checked, with the model that ``baseline`` names."""
    inputs = load_inputs(recipe, accelerator)
    dense = given_dense(recipe, inputs)
    return inputs, None if recipe.baseline is None else dense


def _finish(
    recipe: Recipe, folder: RunFolder, inputs: Inputs, results: list[StageResult], control: list[StageResult]
) -> Report:
    """Export, measure, report; then give the folder its name."""
    dense, trimmed = results[0].model_folder, results[-1].model_folder
    own = inputs.read_with(results[-1].origin.tokenizer())
    notes = inputs.notes + [note for result in results for note in result.info["notes"]]
    if own is not inputs:
        notes += [f"By the trimmed model's tokenizer: {note}" for note in own.cut()]

    def measured() -> dict[str, Any]:
        beside = (control[-1].model_folder, inputs.validation) if control else None
        models = (dense, inputs.validation), (trimmed, own.validation)
        return measure(recipe.measure, inputs.task, *models, exports, beside)

    exports = folder.path / "onnx"
    split = (inputs.task, own.validation, own.train, own.selection)
    files = folder.step("export", lambda: export_model(recipe.export, trimmed, exports, *split))
    figures = folder.step("measure", lambda: folder.kept("measure", Measured, measured))
    report = assemble(
        recipe,
        inputs=inputs,
        measured=figures,
        exported=files,
        stages={result.name: result.info for result in [*results, *control]},
        training=training_info(recipe, results),
        steps=folder.steps,
        notes=[*notes_of(files, inputs.task.metric.name), *figures["notes"], *notes],
        trimmed=trimmed,
        folder=folder.path,
    )
    folder.finish([result.folder / "metrics.jsonl" for result in [*results, *control]])
    return report
