"""Tokenise a split once, keep it on disk, hand out padded batches."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

import trimformer.tasks.multilabel as multilabel
import trimformer.tasks.tagging as tagging
import trimformer.tasks.texts as texts
import trimformer.tasks.windows as windows
from trimformer.encoder.model.heads import IGNORED
from trimformer.errors import TrimformerError
from trimformer.files import cache_folder
from trimformer.tasks.data import Examples, Kind, Task
from trimformer.tasks.settings import Truncation

FORMAT = 2
"""Part of every cache key: raise it when the arrays or their meaning change."""


@dataclass(frozen=True)
class Encoded:
    """A tokenised split, its rows laid end to end: row i is `ids[offsets[i]:offsets[i + 1]]`.

    ids int32 (tokens,); types uint8 (tokens,) or None if the tokenizer makes no token types; offsets int64 (n
    + 1,); `truncated` counts the rows that were cut to fit; `examples` is what was tokenised.

    labels: int64 (n,) for classification, float32 (n,) for regression, float32 (n, labels) for multilabel; int64
    (tokens,) for tokens, -100 where a token has none; int64 (n, 2) for spans: first and last token in the row.
    words, for tokens only: int32 (tokens,), the index of the word that begins at this token, -1 where none does.
    owners, for spans only: int64 (n,), the example that a row is a window of. chars, for spans only: int32 (tokens,
    2), first character and end of the token in the context, -1 outside the context.
    """

    ids: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray
    labels: np.ndarray
    truncated: int
    pad_id: int
    kind: Kind
    examples: Examples
    words: np.ndarray | None = None
    owners: np.ndarray | None = None
    chars: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 (n,)."""
        return np.diff(self.offsets)

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Rows padded on the right to the longest of them.

        input_ids, attention_mask and, if the tokenizer makes them, token_type_ids: int64 (batch, longest);
        labels as in the data, for tokens int64 (batch, longest), -100 on padding.
        """
        rows = [slice(self.offsets[i], self.offsets[i + 1]) for i in indices]
        lengths = torch.from_numpy(self.lengths[list(indices)])
        shape = (len(rows), int(lengths.max()))
        batch = {
            "input_ids": torch.full(shape, self.pad_id),
            "attention_mask": (torch.arange(shape[1]) < lengths[:, None]).long(),
        }
        if self.kind == "tokens":
            batch["labels"] = torch.full(shape, IGNORED)
        else:
            batch["labels"] = torch.from_numpy(self.labels[list(indices)])
        if self.types is not None:
            batch["token_type_ids"] = torch.zeros(shape, dtype=torch.int64)
        for at, (row, length) in enumerate(zip(rows, lengths.tolist(), strict=True)):
            batch["input_ids"][at, :length] = torch.from_numpy(self.ids[row])
            if self.types is not None:
                batch["token_type_ids"][at, :length] = torch.from_numpy(self.types[row])
            if self.kind == "tokens":
                batch["labels"][at, :length] = torch.from_numpy(self.labels[row])
        return batch


def encode(
    task: Task,
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    truncation: Truncation = "head",
    stride: int = 64,
    cache: Path | None = None,
) -> Encoded:
    """Tokenise as the task's kind needs it; the arrays are kept in the folder `cache`.

    truncation: which part of a long text stays. stride: tokens that neighbouring windows of a context share.
    The default folder is $TRIMFORMER_CACHE or ~/.cache/trimformer. The key is a hash of texts, tokenizer,
    settings and FORMAT, so nothing stale is ever read; a broken file is rebuilt and a folder that cannot be
    written is done without. Raises TrimformerError for a tokenizer that has no padding token.
    """
    if tokenizer.pad_token_id is None:
        raise TrimformerError(f"the tokenizer {tokenizer.name_or_path or ''} has no padding token; use one that has it")
    how: dict[str, Any] = {"max_length": max_length}
    tokenise: Callable[..., dict[str, np.ndarray]]
    if task.kind == "tokens":
        tokenise = tagging.tokenise
    elif task.kind == "spans":
        tokenise, how["stride"] = windows.tokenise, stride
    else:
        tokenise, how["truncation"] = texts.tokenise, truncation
    folder = cache or cache_folder()
    file = folder / f"tokens-{_key(task.kind, examples, tokenizer, how)}.npz"
    arrays = _read(file)
    if arrays is None:
        arrays = tokenise(examples, tokenizer, **how)
        _write(file, arrays)
    return Encoded(
        ids=arrays["ids"],
        types=arrays.get("types"),
        offsets=arrays["offsets"],
        labels=_labels(task, arrays, examples),
        truncated=int(arrays["truncated"]),
        pad_id=int(tokenizer.pad_token_id),
        kind=task.kind,
        examples=examples,
        words=arrays.get("words"),
        owners=arrays.get("owners"),
        chars=arrays.get("chars"),
    )


def _labels(task: Task, arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
    if task.kind == "tokens":
        return tagging.labels_of(arrays["words"], arrays["offsets"], examples)
    if task.kind == "spans":
        return windows.labels_of(arrays, examples)
    if task.kind == "multilabel":
        return multilabel.labels_of(task, examples)
    return np.asarray(examples.labels, dtype=np.float32 if task.kind == "regression" else np.int64)


def _key(kind: Kind, examples: Examples, tokenizer: PreTrainedTokenizerBase, how: dict[str, Any]) -> str:
    form = kind if kind in ("tokens", "spans") else "texts"
    settings = [FORMAT, form, how, tokenizer.model_input_names, tokenizer.truncation_side]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + texts.fingerprint(tokenizer))
    for column in (examples.texts, examples.pairs):
        digest.update(b"\0none" if column is None else f"\0{len(column)}".encode())
        for text in column or []:
            words = (text,)
            if isinstance(text, tuple):
                words = text
                digest.update(f"({len(words)}".encode())
            for word in words:
                raw = word.encode("utf-8", "surrogatepass")
                digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()[:32]


def _read(file: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        whole = arrays["offsets"][-1] == len(arrays["ids"])
        return arrays if whole and "truncated" in arrays else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write under a temporary name, then rename, so that no half file is ever read."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".tokens-", delete=False) as temporary:
            try:
                np.savez(temporary, allow_pickle=False, **arrays)
                temporary.close()
                os.replace(temporary.name, file)
            except BaseException:
                os.unlink(temporary.name)
                raise
