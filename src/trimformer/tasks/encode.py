"""Tokenise a split once, keep it on disk, hand out padded batches."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from trimformer.encoder.heads import IGNORED
from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Kind

FORMAT = 1
"""Part of every cache key: raise it when the arrays or their meaning change."""

CHUNK = 1000
"""Rows given to the tokenizer at a time, which bounds the memory for its Python objects."""


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
    examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int, cache: Path | None = None
) -> Encoded:
    """Tokenise, cutting the longest text of a row first; the result is kept in the folder `cache`.

    The default folder is $TRIMFORMER_CACHE or ~/.cache/trimformer. The key is a hash of texts, tokenizer,
    max_length and FORMAT, so nothing stale is ever read; a broken file is rebuilt and a folder that cannot be
    written is done without. Raises TrimformerError for a tokenizer that has no padding token or no
    tokenizer.json.
    """
    pad_id = tokenizer.pad_token_id
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if pad_id is None or backend is None:
        missing = "padding token" if pad_id is None else "fast form (tokenizer.json)"
        raise TrimformerError(f"the tokenizer {tokenizer.name_or_path or ''} has no {missing}; use one that has it")
    folder = cache or Path(os.environ.get("TRIMFORMER_CACHE") or Path.home() / ".cache" / "trimformer")
    file = folder / f"tokens-{_key(examples, tokenizer, max_length)}.npz"
    arrays = _read(file, len(examples))
    if arrays is None:
        arrays = _tokenise(examples, tokenizer, max_length)
        _write(file, arrays)
    numbers = bool(examples.labels) and isinstance(examples.labels[0], float)
    return Encoded(
        ids=arrays["ids"],
        types=arrays.get("types"),
        offsets=arrays["offsets"],
        labels=np.asarray(examples.labels, dtype=np.float32 if numbers else np.int64),
        truncated=int(arrays["truncated"]),
        pad_id=int(pad_id),
        kind="regression" if numbers else "classification",
        examples=examples,
    )


def _tokenise(examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, np.ndarray]:
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    lengths = [0]
    truncated = 0
    for start in range(0, len(examples), CHUNK):
        part = slice(start, start + CHUNK)
        pairs = None if examples.pairs is None else examples.pairs[part]
        coded = tokenizer(examples.texts[part], pairs, truncation="longest_first", max_length=max_length)
        for encoding in coded.encodings or []:
            lengths.append(len(encoding.ids))
            # What was cut off is kept as overflow, and only a row of full length can have any.
            truncated += len(encoding.ids) == max_length and bool(encoding.overflowing)
        ids += [np.asarray(row, dtype=np.int32) for row in coded["input_ids"]]
        types += [np.asarray(row, dtype=np.uint8) for row in coded.get("token_type_ids", [])]
    arrays = {
        "ids": np.concatenate(ids),
        "offsets": np.cumsum(lengths, dtype=np.int64),
        "truncated": np.asarray(truncated),
    }
    if types:
        arrays["types"] = np.concatenate(types)
    return arrays


def _key(examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int) -> str:
    # A call leaves its truncation and padding behind in the tokenizer, which must not change the key.
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    backend.pop("truncation", None)
    backend.pop("padding", None)
    settings = [FORMAT, max_length, tokenizer.model_input_names, tokenizer.truncation_side]
    digest = hashlib.sha256(json.dumps([settings, backend], sort_keys=True).encode())
    for texts in (examples.texts, examples.pairs):
        digest.update(b"\0none" if texts is None else f"\0{len(texts)}".encode())
        for text in texts or []:
            raw = text.encode("utf-8", "surrogatepass")
            digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()[:32]


def _read(file: Path, rows: int) -> dict[str, np.ndarray] | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        whole = len(arrays["offsets"]) == rows + 1 and arrays["offsets"][-1] == len(arrays["ids"])
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
