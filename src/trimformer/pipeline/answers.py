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


def what_trains(recipe: Recipe) -> str | None:
    """What in a recipe trains weights; None: nothing does."""
    if recipe.autopilot is not None and not recipe.autopilot.post_training:
        return "the autopilot"
    if recipe.fine_tune == "always" and recipe.baseline is None:
        return "fine_tune: always"
    return next((f"the stage {stage.name}" for stage in recipe.stages if METHODS[stage.method.name].trains), None)


def answered(
    recipe: Recipe, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, cuts: Cuts
) -> tuple[TaskData, bool, list[str]]:
    """The task's texts with the dense model's answers as labels; whether the checkpoint's own head gave them; and what
    the scores are, in a sentence.

    Raises TrimformerError where the recipe trains and where the model has no head for a task.
    """
    named = recipe.task.pseudo_labels
    if (found := what_trains(recipe)) is not None:
        why = "task.pseudo_labels leaves labels unread" if named else "the data have texts alone"
        remedy = "remove it" if named else "name their column with --label"
        raise TrimformerError(f"Training needs labels: {why}, and {found} trains, so {remedy} or train nothing.")
    model = build(checkpoint) if recipe.baseline is None else load(recipe.baseline)
    if not isinstance(model, TrimformerWithHead):
        why = "The setting task.pseudo_labels leaves labels unread" if named else "The data have texts alone"
        raise TrimformerError(
            f"{why}, and {recipe.baseline or recipe.model} has no head for a task that could answer in their place: "
            "name a fine-tuned model, or the label column with --label."
        )
    data = load_texts(recipe.task, model.kind, model.config.label_names, recipe.seed)
    on_fastest(model)

    def answer(task: Task, rows: Examples) -> Examples:
        encoded = encode(task, rows, tokenizer, **cuts._asdict())
        logits = predict_logits(model, encoded, title="Asking the dense model")
        return replace(rows, labels=KINDS[task.kind].pseudo_labels(encoded, logits))

    data = labelled(data, answer)
    own = checkpoint.kind == model.kind and checkpoint.config.label_names == model.config.label_names
    why = "The labels of the data were not read" if named else "The data have no labels"
    said = f"{data.task.metrics[0]} over {len(data.validation):,} {called(model.kind)}"
    return data, own, [f"{why}: scores are agreement with the dense model's own answers ({said})."]
