"""``compress``, ``compress_within``, ``study_positions`` and ``evaluate`` as functions."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .encoder.checkpoints.load import load_tokenizer, load_with_head, resolve
from .encoder.shape.embedding import EmbeddingShape
from .errors import TrimformerError
from .measure.significance import PairedTest, paired_test
from .pipeline.run import run
from .recipe.reading import checked_task
from .recipe.settings import FineTune, Recipe
from .recipe.standard import autopilot_recipe, standard_recipe, study_recipe
from .report.schema import Report
from .saved.exits import executed_words
from .search.run import run as search
from .search.schema import AutopilotReport, SizeReport
from .tasks.balance import balance_notes
from .tasks.data import Examples, Task
from .tasks.doubts import data_notes
from .tasks.encode import read_rows
from .tasks.encoding.encoded import Encoded
from .tasks.kinds.embedding import scored_along
from .tasks.labels import match_labels, names_of
from .tasks.limits import MAX_LENGTH
from .tasks.outcome import outcome
from .tasks.settings import TaskSettings
from .tasks.task import check_kind, load_validation
from .training.evaluate import Executed, on_fastest, predict_logits
from .training.settings import TrainingSettings


def compress(
    model: str | Path,
    task: TaskSettings | dict[str, Any],
    recipe: Recipe | dict[str, Any],
    out: str | Path,
    *,
    resume: bool = False,
) -> Report:
    """Compress a model by a method or a recipe: find what it needs, remove the rest, fine-tune, measure and export.

    model: folder or hub id, or ``demo``. task: data and columns. recipe: either only the method, such as
    ``{"name": "attendout", "keep_layers": 3}``, with the standard stages for it; or a full :class:`Recipe`, whose
    model, task and out are replaced by the ones given here. out: a new folder for model, ONNX files and report.

    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    settings = checked_task(task)
    if isinstance(recipe, Recipe):
        changes = {"model": str(model), "task": settings, "out": str(out)}
        return run(recipe.model_copy(update=changes), resume=resume)
    return run(standard_recipe(str(model), settings, str(out), method=recipe), resume=resume)


def compress_within(
    model: str | Path,
    task: TaskSettings | dict[str, Any],
    max_drop: float,
    out: str | Path,
    *,
    max_size: int | str | None = None,
    sure: bool = False,
    confirmation: float = 0.5,
    min_speedup: float | None = None,
    post_training: bool = False,
    time_budget: float | str | None = None,
    batch: int = 1,
    length: int | None = None,
    training: TrainingSettings | None = None,
    fine_tune: FineTune = "auto",
    storage: str | None = None,
    ray: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> AutopilotReport | SizeReport:
    """Find the fastest model whose measured loss is within ``max_drop`` points of the task's metric; leave it exported.

    model, task, out: as in :func:`compress`. max_size: find the smallest model in place of the fastest, and say whether
    its folder takes no more than so many bytes, or a text such as ``10MB``. sure: ask for 95 % confidence that the drop
    is inside. confirmation: share of the rows held out from train that choose nothing and only confirm. min_speedup:
    models that are predicted to be at least this many times as fast as the stock dense one get half of the places among
    those that are tried. post_training: train nothing, and fit what is left of a fine-tuned model in closed form.
    time_budget: seconds, or a text such as ``2h``; None: as long as the epochs take, or 3 minutes without training.
    batch, length: what is to be fast; None: texts as long as those of the training data. training: of the dense model
    and of each that is tried. fine_tune: of the dense model, as in a recipe. storage: ``sqlite`` or the URL of a
    database, through which ``trimformer worker`` helps. ray: address of a cluster whose nodes do.

    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    budget = {
        "max_drop": max_drop, "max_size": max_size, "sure": sure, "confirmation": confirmation,
        "min_speedup": min_speedup, "post_training": post_training, "time_budget": time_budget,
        "storage": storage, "ray": ray,
    }  # fmt: skip
    settings = checked_task(task)
    recipe = autopilot_recipe(
        str(model),
        settings,
        str(out),
        budget=budget,
        batch=batch,
        length=length,
        training=training,
        fine_tune=fine_tune,
        seed=seed,
    )
    return search(recipe, resume=resume)


def study_positions(
    model: str | Path,
    texts: Sequence[str | Path],
    out: str | Path,
    *,
    max_length: int = MAX_LENGTH,
    shape: str | None = None,
    per_layer: bool = False,
    training: TrainingSettings | None = None,
    seed: int = 0,
    resume: bool = False,
) -> Report:
    """Find out how much each position of attention counts: P_ij = σ(α_ij), trained with the weights on masked tokens.

    texts: files of plain text. max_length: tokens of each row. shape: of a fresh encoder that takes the place of the
    model, such as minilm6; None: the model goes on. per_layer: each layer has factors of its own. The report's
    ``positions`` hold the importance of each position, and its mean over the diagonal, neighbours, special tokens and
    the rest with intervals; report.html in ``out`` draws them.

    Raises TrimformerError for every mistake in settings, data, checkpoint or output folder.
    """
    files = [str(file) for file in texts]
    how: dict[str, Any] = {"shape": shape, "per_layer": per_layer, "training": training, "seed": seed}
    return run(study_recipe(str(model), files, str(out), max_length=max_length, **how), resume=resume)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """scores: each metric by name, the official one first. against: the paired test, where a second model was given.

    source: where the examples came from. truncated: texts (questions, for spans) longer than the limit, which were cut.
    executed: rows that went through 1, 2, … layers, of a model with exits; None: it has none.
    notes: a class that nearly all rows have or that is never answered; where texts were cut, and what is odd about how
    they were read, of each model.
    """

    model: str
    task: str
    source: str
    n_examples: int
    truncated: int
    scores: dict[str, float]
    against: PairedTest | None = None
    executed: list[int] | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


def evaluate(
    model: str | Path, task: TaskSettings | dict[str, Any], *, against: str | Path | None = None
) -> Evaluation:
    """Score a fine-tuned model on the task's validation examples, in fp32.

    task: texts are cut as it says, else as each model was saved with.
    against: another model, scored on the same examples; the result then holds the paired test of the difference
        (this model minus the other).
    """
    settings = checked_task(task)
    known, examples, data, logits, executed, said = _answers(model, settings)
    found = outcome(known, data, logits)
    outcomes = {str(model): found}
    test, notes = None, [*data_notes(known, examples), *(f"{model}: {note}" for note in said)]
    if against is not None:
        _, _, others, logits, _, said = _answers(against, settings, (str(model), known, examples))
        before = outcome(known, others, logits)
        notes += [f"{against}: {note}" for note in said]
        test = paired_test(before, found)
        outcomes[str(against)] = before
    notes = [*balance_notes(known, outcomes, "validation"), *notes]
    if executed is not None:
        notes = [executed_words(executed), *notes]
    return Evaluation(
        str(model), known.name, known.source, len(examples), data.truncated, found.scores, test, executed, notes
    )


def _order(ours: Task, theirs: Task) -> list[int] | None:
    """For each of our labels their id of it, None where they have others."""
    if ours.kind != theirs.kind or len(ours.labels) != len(theirs.labels):
        return None
    with contextlib.suppress(TrimformerError):
        return match_labels(ours.labels, theirs.labels, ordered=False)
    return None


def _answers(
    path: str | Path, settings: TaskSettings, first: tuple[str, Task, Examples] | None = None
) -> tuple[Task, Examples, Encoded, np.ndarray, list[int] | None, list[str]]:
    """The task with the model's ids, its rows, how the model reads them, its logits, how many rows went through how
    many layers of a model with exits, and what is to be said.

    first: name, task and rows of a model that this one is compared with: all is then by the ids of that one. Raises
    TrimformerError where the two have different labels.
    """
    model = load_with_head(path)
    task, examples = load_validation(settings.read_for(model.kind), names_of(model.config))
    check_kind(task, model.kind, str(path))
    task = scored_along(task, EmbeddingShape.dims_of(model.config))
    name, ours, examples = first or (str(path), task, examples)
    order = _order(ours, task)
    if order is None:
        raise TrimformerError(f"{name} and {path} have different labels: they cannot be compared.")
    said = dataclasses.replace(ours, note=task.note)
    data, notes = read_rows(said, examples, load_tokenizer(path), settings, model.config, resolve(path))
    counted = Executed(on_fastest(model))
    logits = predict_logits(counted, data, title="Scoring")
    if order != list(range(len(order))):
        logits = np.hstack([0 * logits, logits]) if task.one_output else logits
        logits = logits[:, order]
    return ours, examples, data, logits, counted.counts, notes
