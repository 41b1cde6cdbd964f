"""The arrays of tokenised splits on disk, in files whose names say all that decides what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMAT = 2
"""Part of every file's name: raise it when the arrays or their meaning change."""


def file_name(form: str, examples: Examples, tokenizer: PreTrainedTokenizerBase, how: dict[str, Any]) -> str:
    """Named by a hash of texts, tokenizer, settings and FORMAT, so that nothing stale is ever read.

    form: which way of tokenising; how: its settings.
    """
    settings = [FORMAT, form, how, tokenizer.model_input_names, tokenizer.truncation_side]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + fingerprint(tokenizer))
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
    return f"tokens-{digest.hexdigest()[:32]}.npz"


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> bytes:
    """A hash of all that decides how the tokenizer splits a text and which special tokens it adds."""
    digest = hashlib.sha256()
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        # A call leaves its truncation and padding behind in the tokenizer, which must not change the hash.
        state.pop("truncation", None)
        state.pop("padding", None)
        digest.update(json.dumps(state, sort_keys=True).encode())
        return digest.digest()
    # A slow tokenizer is known by the files that it would be saved as.
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for file in sorted(Path(folder).iterdir()):
            content = file.read_bytes()
            digest.update(f"{file.name}:{len(content)}:".encode() + content)
    return digest.digest()


def read(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None where it is missing or broken."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        whole = arrays["offsets"][-1] == len(arrays["ids"])
        return arrays if whole and "truncated" in arrays else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write under a temporary name, then rename, so that no half file is ever read; do without where it cannot be."""
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
