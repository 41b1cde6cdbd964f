"""What a run reads at the start, and how the checkpoint's head meets the labels of the data."""

from __future__ import annotations

import dataclasses
import re

from transformers import PreTrainedTokenizerBase

from ..encoder.checkpoints.load import Checkpoint, head_labels, with_labels
from ..errors import TrimformerError
from ..tasks.data import Task, TaskData
from ..tasks.encode import Encoded
from ..tasks.rows import shown
from ..tasks.task import with_label_order


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Everything read at the start."""

    checkpoint: Checkpoint
    has_trained_head: bool
    tokenizer: PreTrainedTokenizerBase
    task: Task
    train: Encoded
    selection: Encoded
    validation: Encoded
    notes: list[str]


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
