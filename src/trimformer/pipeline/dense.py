"""The dense model of a run: baseline and teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..encoder.checkpoints.load import load
from ..encoder.model.exits import without_exits
from ..encoder.model.heads import TrimformerWithHead
from ..errors import TrimformerError
from ..recipe.settings import Recipe, StageSettings
from ..starts.pretrained import Pretrained, PretrainedSettings
from .inputs import Inputs
from .stages import StageResult, Stages


def given_dense(recipe: Recipe, inputs: Inputs) -> TrimformerWithHead | None:
    """The dense model that is there already: the recipe's baseline, or the checkpoint with its head; None: neither.

    Raises TrimformerError where its weights cannot be read, do not fit, or are not those of this model and task.
    """
    pretrained = Pretrained(PretrainedSettings(), inputs.origins()).model()  # do the weights fit?
    if recipe.baseline is None:
        return pretrained if inputs.has_trained_head or inputs.task.kind == "masked-lm" else None
    model: Any = without_exits(load(recipe.baseline))
    wanted = inputs.checkpoint.config
    if (
        not isinstance(model, TrimformerWithHead)
        or model.kind != inputs.task.kind
        or (inputs.task.labels and model.config.label_names != list(inputs.task.labels))
        or (model.config.shapes, model.config.hidden_size) != (wanted.shapes, wanted.hidden_size)
        or model.config.vocab_size != wanted.vocab_size
    ):
        raise TrimformerError(
            f"The baseline {recipe.baseline} is not {recipe.model} fine-tuned on this task: its layers, "
            "width, vocabulary and labels, in the same order, must be the same."
        )
    return model


def make_dense(recipe: Recipe, stages: Stages, folder: Path, deadline: float | None = None) -> StageResult:
    """The dense model in its folder, fine-tuned here unless it is there already, or there is plain text alone.

    deadline: of the training, on the clock of ``time.monotonic``.
    """
    if recipe.baseline is None and not stages.inputs.has_trained_head and stages.inputs.task.kind != "masked-lm":
        settings = {
            "name": "dense",
            "method": {"name": "finetune"},
            "start": "pretrained",
            "training": recipe.dense,
        }
        return stages.run(StageSettings.model_validate(settings), -1, folder, [], deadline)
    result = StageResult("dense", folder, {"notes": [], "clock": {}, "history": {}})
    if not result.model_folder.is_dir() and stages.accelerator.is_main_process:
        torch.manual_seed(recipe.seed)  # of a masked-LM head, where the checkpoint has none
        model = given_dense(recipe, stages.inputs)
        assert model is not None
        stages.save(model, result.model_folder)
    stages.accelerator.wait_for_everyone()
    return result
