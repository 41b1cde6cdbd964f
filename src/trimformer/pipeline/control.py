"""The control of a run: the dense model, trained on for as long as the trimmed one, with nothing removed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..errors import TrimformerError
from ..methods import METHODS, Method
from ..recipe.settings import Recipe, StageSettings
from ..report.schema import TrainingInfo
from .run_folder import RunFolder
from .stages import StageResult, Stages

ON_TOP = ("dense", "previous")
"""Starts that go on from the dense model, which `previous` is for the first stage."""


def lineage(recipe: Recipe) -> list[int]:
    """The stages that the result went through, by their number: none before the last new start."""
    numbers: list[int] = []
    for number, stage in enumerate(recipe.stages):
        numbers = [*numbers, number] if stage.start.name == "previous" else [number]
    return numbers


def control_stages(recipe: Recipe) -> dict[int, StageSettings]:
    """The same trainings without what they remove, by the number of their stage."""
    found: dict[int, StageSettings] = {}
    first = recipe.stages[lineage(recipe)[0]].start.name
    for number in lineage(recipe):
        stage, method = recipe.stages[number], METHODS[recipe.stages[number].method.name]
        if not method.trains:
            continue
        # A method that scores no epoch trains to the end.
        training = {} if method.validate is not Method.validate else {"keep_best": False}
        settings = {
            "name": "control",
            "method": {"name": "finetune"},
            "start": "previous" if found else "pretrained" if first == "pretrained" else "dense",
            # The map is that of a student with fewer layers.
            "augment": stage.augment,
            "objective": stage.objective.model_copy(update={"layer_map": None}),
            "training": stage.training.model_copy(update=training),
        }
        # A recipe cannot hold such a name, so that it is nobody else's.
        name = {"name": f"control: {stage.name}"}
        found[number] = StageSettings.model_validate(settings).model_copy(update=name)
    return found


def check_control(recipe: Recipe) -> None:
    """Raise TrimformerError where a control is asked for and nothing is trained that it could be one of."""
    if recipe.control is not None and not control_stages(recipe):
        raise TrimformerError(
            "control: dense trains the dense model on for as long as the trimmed one, which no stage trains here: "
            "leave it out."
        )


def train_control(recipe: Recipe, folder: RunFolder, stages: Stages, dense: StageResult) -> list[StageResult]:
    """What the control's trainings left, the last one in the results; none where the recipe asks for no control."""
    if recipe.control is None:
        return []
    results, planned = [dense], control_stages(recipe)
    for number, stage in planned.items():
        last = number == max(planned)
        place: Path = folder.path / "control" if last else folder.work / f"control-{number}"
        results.append(folder.step(stage.name, partial(stages.run, stage, number, place, results)))
    return results[1:]


def training_info(recipe: Recipe, results: Sequence[StageResult]) -> TrainingInfo:
    """For how long the result was trained beside the dense model. results: the dense model, then all stages."""
    dense, *others = results
    trained = [(recipe.stages[number], others[number].info.get("epochs", 0.0)) for number in lineage(recipe)]
    return TrainingInfo(
        epochs=sum(epochs for _, epochs in trained),
        distilled=sum(epochs for stage, epochs in trained if stage.objective.needs_teacher),
        on_top=recipe.stages[lineage(recipe)[0]].start.name in ON_TOP,
        dense_epochs=dense.info.get("epochs", 0.0),
    )
