"""The dense model's own answers in place of labels, so that scores are agreement with it (pseudo-labels, Lee, 2013)."""

from __future__ import annotations

from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from ..encoder.checkpoints.load import Checkpoint, build, load
from ..encoder.model.heads import TrimformerWithHead
from ..errors import TrimformerError
from ..methods import METHODS
from ..recipe.settings import Recipe
from ..tasks.cuts import Cuts
from ..tasks.data import Examples, Task, TaskData, called
from ..tasks.encode import encode
from ..tasks.kinds import KINDS
from ..tasks.task import labelled, load_texts
from ..training.evaluate import on_fastest, predict_logits


def learns(recipe: Recipe) -> bool:
    """Whether something in a recipe is trained."""
    return _searches(recipe) or any(METHODS[stage.method.name].trains for stage in recipe.stages)


def distils(recipe: Recipe) -> bool:
    """Whether something that is trained learns from the dense model, as all does that a search tries."""
    teaches = (METHODS[stage.method.name].trains and stage.objective.needs_teacher for stage in recipe.stages)
    return _searches(recipe) or any(teaches)


def _searches(recipe: Recipe) -> bool:
    return recipe.autopilot is not None and not recipe.autopilot.post_training


def answered(
    recipe: Recipe, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, cuts: Cuts
) -> tuple[TaskData, bool, list[str]]:
    """The task's texts with the dense model's answers as labels; whether the checkpoint's own head gave them; and what
    the scores are, in a sentence.

    Raises TrimformerError where the recipe trains the dense model, and where that has no head for a task.
    """
    named = recipe.task.pseudo_labels
    if recipe.fine_tune == "always" and recipe.baseline is None:
        raise TrimformerError(
            "fine_tune: always trains the dense model, whose own answers are the labels here: leave it out."
        )
    model = build(checkpoint) if recipe.baseline is None else load(recipe.baseline)
    if not isinstance(model, TrimformerWithHead):
        why = "The setting task.pseudo_labels leaves labels unread" if named else "The data have texts alone"
        raise TrimformerError(
            f"{why}, and {recipe.baseline or recipe.model} has no head for a task that could answer in their place: "
            "name a fine-tuned model, or the label column with --label."
        )
    data = load_texts(recipe.task, model.kind, model.config.label_names, recipe.seed, learns=learns(recipe))
    on_fastest(model)

    def answer(task: Task, rows: Examples) -> Examples:
        encoded = encode(task, rows, tokenizer, **cuts._asdict())
        logits = predict_logits(model, encoded, title="Asking the dense model")
        return replace(rows, labels=KINDS[task.kind].pseudo_labels(encoded, logits))

    data = labelled(data, answer)
    own = checkpoint.kind == model.kind and checkpoint.config.label_names == model.config.label_names
    why = "The labels of the data were not read" if named else "The data have no labels"
    name, rows = data.task.metrics[0], called(model.kind)
    if not data.task.labelled_validation:
        said = f"{name} over {len(data.validation):,} {rows}"
        return data, own, [f"{why}: scores are agreement with the dense model's own answers ({said})."]
    said = f"{name} over {len(data.selection):,} {rows}"
    return (
        data,
        own,
        [
            f"{why} but for the {len(data.validation):,} validation {rows}: scores there are by these labels, and what "
            f"is chosen is chosen by agreement with the dense model's own answers ({said})."
        ],
    )
