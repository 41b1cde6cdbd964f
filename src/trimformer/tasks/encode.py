"""Tokenise a split once, and keep the result on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..encoder.shape.config import TrimformerConfig
from ..files import cache_folder
from ..saved.tokenizer_check import check_ids, reading_notes, some_texts
from .cuts import Cuts, cut_notes, cuts_of
from .data import Examples, Task
from .encoding import cache as cached
from .encoding.encoded import Encoded, padding_id
from .kinds import KINDS
from .limits import STRIDE, Truncation
from .settings import TaskSettings


def encode(
    task: Task,
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    truncation: Truncation = "head",
    stride: int = STRIDE,
    cache: Path | None = None,
) -> Encoded:
    """Tokenise as the task's kind needs it; the arrays are kept in the folder `cache`.

    truncation: which part of a long text stays. stride: tokens that neighbouring windows of a context share.
    The default folder is $TRIMFORMER_CACHE or ~/.cache/trimformer. A broken file is rebuilt, and a folder that cannot
    be written is done without. Raises TrimformerError for a tokenizer that has no padding token.
    """
    kind, pad_id = KINDS[task.kind], padding_id(tokenizer)
    how = Cuts(max_length, truncation, stride).read_by(kind.reads)
    file = (cache or cache_folder()) / cached.file_name(kind.form, examples, tokenizer, how)
    arrays = cached.read(file)
    if arrays is None:
        arrays = kind.tokenise(examples, tokenizer, **how)
        cached.write(file, arrays)
    # Rows without labels have zeros, of which there are enough for rows and for tokens.
    labels = kind.labels(task, arrays, examples) if examples.labels else np.zeros(len(arrays["ids"]), dtype=np.int64)
    data = Encoded.from_arrays(arrays, labels, pad_id, task.kind, examples)
    return replace(data, max_length=max_length, truncation=truncation)


def read_rows(
    task: Task,
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    settings: TaskSettings,
    config: TrimformerConfig,
    folder: Path | None,
    rows: str = "validation",
) -> tuple[Encoded, list[str]]:
    """Rows as a saved model reads them, and in sentences what is to be known of that.

    The sentences say what was taken for granted about the model's outputs, what is odd about how the tokenizer reads
    the first rows, and where rows were cut. folder: of the tokenizer's files, None where there are none. rows: what
    they are called. Raises TrimformerError for tokens that the model has no embeddings for.
    """
    data = encode(task, examples, tokenizer, **cuts_of(settings, tokenizer, config.max_tokens)._asdict())
    check_ids(data.ids, data.types, config)
    notes = [task.note] if task.note else []
    return data, [*notes, *reading_notes(tokenizer, folder, some_texts(examples.texts)), *cut_notes(data, rows)]
