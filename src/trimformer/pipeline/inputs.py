"""What a run reads at the start, and how the checkpoint's head meets the labels of the data."""

from __future__ import annotations

import dataclasses
import re

from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from ..encoder.checkpoints.load import Checkpoint, head_labels, load_tokenizer, read_checkpoint, with_labels
from ..errors import TrimformerError
from ..inference.runtimes.onnx import require_onnx
from ..recipe.settings import Recipe
from ..report.templating import require_packages
from ..starts import Origin, Origins
from ..tasks.data import Examples, Task, TaskData
from ..tasks.encode import encode
from ..tasks.encoding.encoded import Encoded
from ..tasks.labels import shown
from ..tasks.settings import TaskSettings
from ..tasks.task import load_task, with_label_order
from ..training.objective import readings_of, terms_of
from ..training.teacher_cache import check_size
from .check import check_stages


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Everything read at the start.

    train, selection, validation: as the tokenizer encodes them, each row cut to ``length`` tokens. settings: of the
    task.
    """

    checkpoint: Checkpoint
    has_trained_head: bool
    tokenizer: PreTrainedTokenizerBase
    task: Task
    settings: TaskSettings
    length: int
    train: Encoded
    selection: Encoded
    validation: Encoded
    notes: list[str]

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
        return _encoded(self.task, rows, self.tokenizer, self.settings, self.length)

    def origins(self, dense: Origin | None = None, previous: Origin | None = None) -> Origins:
        """What a stage can start from. dense: None before it is there. previous: None for the first stage."""
        checkpoint = self.checkpoint
        dense = dense or Origin(checkpoint.config)
        return Origins(checkpoint, self.tokenizer, self.has_trained_head, self.task, dense, previous or dense)

    def cut(self) -> list[str]:
        """How many validation rows the tokenizer cuts, as a sentence; empty where it cuts none."""
        count, kind = self.validation.truncated, self.task.kind
        what = {"tokens": "sentences", "spans": "questions"}.get(kind, "texts")
        where = "" if kind == "spans" else f" at {self.length} tokens"
        return [f"{count} of {len(self.validation.examples)} validation {what} were cut{where}."] if count else []


def load_inputs(recipe: Recipe, accelerator: Accelerator) -> Inputs:
    """Read and check everything that a run needs; raises TrimformerError for every mistake in it."""
    require_packages()
    if recipe.export.onnx:
        require_onnx()
    checkpoint = read_checkpoint(recipe.model)
    tokenizer = load_tokenizer(recipe.model)
    if max(recipe.measure.length or [0]) > checkpoint.config.max_tokens:
        raise TrimformerError(
            f"measure.length: {recipe.model} takes at most {checkpoint.config.max_tokens} tokens, "
            f"not {max(recipe.measure.length or [0])}."
        )
    processes, length = accelerator.num_processes, min(recipe.task.max_length, checkpoint.config.max_tokens)
    with accelerator.main_process_first():
        data = load_task(recipe.task, recipe.seed)
        checkpoint, data, trained, notes = match_head(checkpoint, data)
        dense = Origin(checkpoint.config)
        origins = Origins(checkpoint, tokenizer, trained, data.task, dense, dense)
        students = check_stages(recipe.stages, origins, length)
        train, selection, validation = (
            _encoded(data.task, rows, tokenizer, recipe.task, length)
            for rows in (data.train, data.selection, data.validation)
        )
    largest = max(training.batch_size for training in [recipe.dense, *(s.training for s in recipe.stages)])
    if -(-len(train) // largest) < processes:
        raise TrimformerError(
            f"{len(train)} training examples do not fill one batch of {largest} for each of {processes} "
            "processes: lower the batch size."
        )
    for stage, student in zip(recipe.stages, students, strict=True):
        if stage.objective.cache:
            check_size(readings_of(terms_of(stage.objective, student, dense.config)), train)
    inputs = Inputs(checkpoint, trained, tokenizer, data.task, recipe.task, length, train, selection, validation, notes)
    notes += inputs.cut()
    return inputs


def _encoded(
    task: Task, rows: Examples, tokenizer: PreTrainedTokenizerBase, settings: TaskSettings, length: int
) -> Encoded:
    return encode(task, rows, tokenizer, length, truncation=settings.truncation, stride=settings.stride)


def match_head(checkpoint: Checkpoint, data: TaskData) -> tuple[Checkpoint, TaskData, bool, list[str]]:
    """Whether the checkpoint's head was trained for these labels; the data then follow the head's label order.

    A head without label names (LABEL_0, …) takes the names of the data, by number, and a note says so.
    """
    if checkpoint.head is None:
        return checkpoint, data, False, []
    kind = data.task.kind
    names, labels = checkpoint.config.label_names, head_labels(data.task.labels, kind)
    # Tags are matched one by one: a tagger may know more of them than occur here.
    if checkpoint.kind == kind and (kind == "tokens" or len(names) == len(labels)):
        if kind in ("regression", "spans"):
            return checkpoint, data, True, []
        nameless = all(re.fullmatch(r"LABEL_\d+", name) for name in names) and set(names) != set(labels)
        if nameless and kind != "tokens":  # nobody knows the order of nameless tags
            note = f"The checkpoint's head names no labels; its outputs were taken to be {', '.join(labels)}, in order."
            named = dataclasses.replace(checkpoint, config=with_labels(checkpoint.config, labels, kind))
            return named, data, True, [note]
        try:
            return checkpoint, with_label_order(data, names), True, []
        except TrimformerError:
            pass  # other labels: the note says so
    has = f"knows {shown(names)}, the data have {shown(labels)}"
    if checkpoint.kind != kind:
        has = f"was made for {checkpoint.kind}, the task is {kind}"
    note = f"The checkpoint's head {has}: the head was replaced and the dense model fine-tuned first."
    return checkpoint, data, False, [note]
