"""Tokenise a split once, and keep the result on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..files import cache_folder
from .cuts import Cuts
from .data import Examples, Task
from .encoding import cache as cached
from .encoding.encoded import Encoded, padding_id
from .kinds import KINDS
from .settings import STRIDE, Truncation


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
