"""What a run reads at the start."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from functools import cached_property

import numpy as np
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from ..encoder.checkpoints.load import Checkpoint, build, load_tokenizer, read_checkpoint, resolve
from ..encoder.model.heads import head_class
from ..encoder.shape.embedding import EmbeddingShape
from ..errors import TrimformerError
from ..inference.runtimes.onnx import require_onnx
from ..recipe.settings import Recipe
from ..report.templating import require_packages
from ..saved.tokenizer_check import reading_notes, some_texts
from ..starts import Origin, Origins
from ..tasks.cuts import Cuts, cut_notes, cuts_of
from ..tasks.data import Examples, Task, TaskData, joined
from ..tasks.encode import encode
from ..tasks.encoding.encoded import Encoded
from ..tasks.kinds.embedding import scored_along
from ..tasks.labels import names_of
from ..tasks.plain_text.load import is_plain_text, load_plain_text
from ..tasks.sources.unlabelled import texts_alone
from ..tasks.task import load_task
from ..training.objective import readings_of, terms_of
from ..training.settings import ObjectiveSettings
from ..training.teacher_cache import check_size
from .answers import answered, distils
from .check import check_stages
from .head import SCORED_ROWS, as_asked, match_head, why_train, with_dims


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Everything read at the start.

    train, selection, validation: as the tokenizer encodes them, each row cut as ``cuts`` say. unlabelled: rows without
    labels, from which a stage that distils learns, too.
    """

    checkpoint: Checkpoint
    has_trained_head: bool
    tokenizer: PreTrainedTokenizerBase
    task: Task
    cuts: Cuts
    train: Encoded
    selection: Encoded
    validation: Encoded
    notes: list[str]
    unlabelled: Examples | None = None

    @cached_property
    def distilled(self) -> Encoded:
        """The training rows, and behind them those without labels where there are some."""
        if self.unlabelled is None:
            return self.train
        labelled = dataclasses.replace(self.train.examples, groups=None)
        return self.encoded(joined([labelled, self.unlabelled]))

    def learned(self, objective: ObjectiveSettings) -> Encoded:
        """What a stage with this objective learns from: the dense model knows answers to rows without labels."""
        return self.distilled if objective.needs_teacher else self.train

    def read_with(self, tokenizer: PreTrainedTokenizerBase | None) -> Inputs:
        """The same rows as another tokenizer encodes them; None: as they are."""
        if tokenizer is None:
            return self
        other = dataclasses.replace(self, tokenizer=tokenizer)
        train, selection, validation = (
            other.encoded(split.examples) for split in (self.train, self.selection, self.validation)
        )
        return dataclasses.replace(other, train=train, selection=selection, validation=validation)

    def encoded(self, rows: Examples) -> Encoded:
        """Rows of the task as the tokenizer encodes them."""
        return encode(self.task, rows, self.tokenizer, **self.cuts._asdict())

    def origins(self, dense: Origin | None = None, previous: Origin | None = None) -> Origins:
        """What a stage can start from. dense: None before it is there. previous: None for the first stage."""
        checkpoint = self.checkpoint
        dense = dense or Origin(checkpoint.config)
        return Origins(checkpoint, self.tokenizer, self.has_trained_head, self.task, dense, previous or dense)

    def cut(self) -> list[str]:
        """How many validation rows the tokenizer cuts and where, as a sentence; empty where it cuts none."""
        return cut_notes(self.validation)


def load_inputs(recipe: Recipe, accelerator: Accelerator) -> Inputs:
    """Read and check everything that a run needs; raises TrimformerError for every mistake in it."""
    require_packages()
    if recipe.export.onnx:
        require_onnx()
    checkpoint, said = as_asked(recipe, read_checkpoint(recipe.model))
    checkpoint, without = with_dims(recipe, checkpoint).without_exits()
    tokenizer = load_tokenizer(recipe.model)
    if max(recipe.measure.length or [0]) > checkpoint.config.max_tokens:
        raise TrimformerError(
            f"measure.length: {recipe.model} takes at most {checkpoint.config.max_tokens} tokens, "
            f"not {max(recipe.measure.length or [0])}."
        )
    processes, cuts = accelerator.num_processes, _cuts(recipe, checkpoint, tokenizer)
    with accelerator.main_process_first():
        if is_plain_text(recipe.task):
            return _plain_text(recipe, checkpoint, tokenizer, cuts, processes)
        if texts_alone(recipe.task):
            data, trained, notes = answered(recipe, checkpoint, tokenizer, cuts)
        else:
            names = None if checkpoint.head is None else names_of(checkpoint.config)
            settings = recipe.task.read_for(checkpoint.kind)
            data = load_task(settings, recipe.seed, names, distils=distils(recipe))
            checkpoint, data, trained, notes = _head(recipe, checkpoint, data, tokenizer, cuts, accelerator)
            _require_trained(recipe, trained, notes)
        notes = [*said, *without, *notes, *data.notes]
        data = dataclasses.replace(data, task=scored_along(data.task, EmbeddingShape.dims_of(checkpoint.config)))
        notes += [] if checkpoint.note is None else [checkpoint.note]
        some = some_texts(data.train.texts)
        some += some_texts(data.unlabelled.texts) if data.unlabelled is not None else []
        notes += reading_notes(tokenizer, resolve(recipe.model), some)
        dense = Origin(checkpoint.config)
        origins = Origins(checkpoint, tokenizer, trained, data.task, dense, dense)
        students = check_stages(recipe.stages, origins, cuts.max_length, data.train.pairs is not None)
        train, selection, validation = (
            encode(data.task, rows, tokenizer, **cuts._asdict())
            for rows in (data.train, data.selection, data.validation)
        )
    _check_batches(recipe, train, processes)
    inputs = Inputs(
        checkpoint, trained, tokenizer, data.task, cuts, train, selection, validation, notes, data.unlabelled
    )
    for stage, student in zip(recipe.stages, students, strict=True):
        if stage.objective.cache:
            rows = inputs.learned(stage.objective)
            check_size(readings_of(terms_of(stage.objective, student, dense.config)), rows)
    notes += inputs.cut()
    return inputs


def _check_batches(recipe: Recipe, train: Encoded, processes: int) -> None:
    largest = max(training.batch_size for training in [recipe.dense, *(s.training for s in recipe.stages)])
    if -(-len(train) // largest) < processes:
        raise TrimformerError(
            f"{len(train)} training examples do not fill one batch of {largest} for each of {processes} "
            "processes: lower the batch size."
        )


def _plain_text(
    recipe: Recipe, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, cuts: Cuts, processes: int
) -> Inputs:
    """The inputs of a masked-LM task: the dense model is the checkpoint as given, with its masked-LM head if any."""
    for name, value in {"autopilot": recipe.autopilot, "baseline": recipe.baseline, "control": recipe.control}.items():
        if value is not None:
            raise TrimformerError(f"{name} has no meaning for a task of plain text: leave it out.")
    rows = load_plain_text(recipe.task, tokenizer, checkpoint.config, cuts.max_length, recipe.seed)
    trained, notes = bool(checkpoint.masked_lm), list(rows.notes)
    if trained:
        body = {name: weight for name, weight in checkpoint.weights.items() if name.startswith("encoder.")}
        weights = body | dict(checkpoint.masked_lm)
        checkpoint = dataclasses.replace(checkpoint, weights=weights, head=head_class(rows.task.kind))
    else:
        notes.append(
            f"{recipe.model} has no masked-LM head: the dense model has an untrained one, whose score says nothing of "
            "it, and so has a student unless the term 'task' of an objective trains its head."
        )
    dense = Origin(checkpoint.config)
    check_stages(recipe.stages, Origins(checkpoint, tokenizer, trained, rows.task, dense, dense), cuts.max_length)
    _check_batches(recipe, rows.train, processes)
    return Inputs(checkpoint, trained, tokenizer, rows.task, cuts, rows.train, rows.selection, rows.validation, notes)


def _head(
    recipe: Recipe,
    checkpoint: Checkpoint,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase,
    cuts: Cuts,
    accelerator: Accelerator,
) -> tuple[Checkpoint, TaskData, bool, list[str]]:
    """As :func:`match_head`, and whether the head is used as it is, which ``fine_tune`` of the recipe decides."""
    checkpoint, data, trained, notes = match_head(checkpoint, data)
    if recipe.fine_tune == "always":
        kept = data.task.kind == "embedding"  # its head has nothing of the data
        done = "The dense model was" if kept else "The checkpoint's head was replaced and the dense model"
        note = f"{done} fine-tuned first, as fine_tune: always says."
        return checkpoint, data, False, [note] if checkpoint.head is not None else []
    if recipe.baseline is not None:  # it is the dense model, whatever the checkpoint's head is worth
        return checkpoint, data, trained, notes if trained else []
    if recipe.fine_tune == "never" and not trained:
        why = notes[0].rpartition(": ")[0] if notes else f"{recipe.model} has no head for a task"
        raise TrimformerError(f"{why}: set fine_tune to auto, which trains a head for the labels of the data.")
    if recipe.fine_tune == "auto" and trained:
        count = len(data.selection)
        chosen = np.linspace(0, count - 1, min(SCORED_ROWS, count)).astype(int).tolist()
        rows = encode(data.task, data.selection.take(chosen), tokenizer, **cuts._asdict())
        why_not = why_train(build(checkpoint).to(accelerator.device), data.task, rows)
        if why_not is not None:
            note = (
                f"On {len(chosen)} of the selection rows the checkpoint's head {why_not}: it was replaced and the "
                "dense model fine-tuned first (fine_tune: never keeps it)."
            )
            return checkpoint, data, False, [note]
    return checkpoint, data, trained, notes


def _require_trained(recipe: Recipe, trained: bool, notes: list[str]) -> None:
    """Refuse to search without training where the dense model would need it. notes: on its head."""
    if trained or recipe.baseline is not None or recipe.autopilot is None or not recipe.autopilot.post_training:
        return
    if recipe.fine_tune == "always":
        raise TrimformerError(
            "fine_tune: always trains the dense model, and with post-training nothing is trained: leave one out."
        )
    why = re.split(": (?:the head|it) was replaced", notes[0])[0] if notes else f"{recipe.model} has no head for a task"
    remedy = "fine-tune it first, or leave out --post-training"
    if recipe.fine_tune == "auto" and notes:
        remedy += " (--fine-tune never takes a head of the right form as it is)"
    raise TrimformerError(f"{why}, and with post-training nothing is trained: {remedy}.")


def _cuts(recipe: Recipe, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> Cuts:
    """As the recipe says, else as the model was saved with that is the dense one."""
    longest = checkpoint.config.max_tokens
    if recipe.baseline is not None:
        with contextlib.suppress(TrimformerError):  # it may be weights alone, which say nothing of lengths
            return cuts_of(recipe.task, load_tokenizer(recipe.baseline), longest)
    return cuts_of(recipe.task, tokenizer, longest, has_head=checkpoint.head is not None)
