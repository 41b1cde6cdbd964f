"""Predict from a model folder, in PyTorch or ONNX Runtime, for a list of texts or an endless stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from ..encoder import TrimformerWithHead
from ..encoder.heads import Kind
from ..encoder.load import load, load_tokenizer, read_config, read_kind, resolve
from ..errors import TrimformerError
from ..tasks.encode import Encoded
from .answers import AnyAnswer, answers
from .onnx import FILES
from .session import open_session, run_session, torch_threads
from .windows import Row, batches, inputs, tokenise

Backend = Literal["auto", "torch", "onnx", "onnx-int8"]
WINDOW = 4096
"""Rows that are read ahead and sorted by length together: no padding to speak of is left, and memory stays small."""
WINDOW_OF_TOKENS = 512
"""The same where the model answers for every token."""


class Predictor:
    """A model with a task head loaded from a folder, ready to predict.

    folder: model folder (or hub id) with config.json, tokenizer and weights; ONNX files are looked for in it, in its
        ``onnx`` subfolder and, if it is called ``model``, in ``onnx`` beside it, as a run leaves them. Weights are
        read by the ``torch`` backend only.
    backend: ``auto`` takes ``model.onnx`` where there is one, else ``torch``; int8 changes the numbers a
        little and is taken only when asked for.
    threads: for the chosen backend; None = as the backend likes. max_length: longest input in tokens (longer
        texts are cut); None = as long as the tokenizer says (a run saves the length that it was scored at).

    Raises TrimformerError for a folder without the files needed, a damaged file, or a model without a task
    head.
    """

    def __init__(
        self,
        folder: str | Path,
        backend: Backend = "auto",
        threads: int | None = None,
        max_length: int | None = None,
    ) -> None:
        path = resolve(folder)
        self.backend, file = _choose(path, backend)
        self.config = read_config(path)
        self.kind: Kind = read_kind(path)
        self.tokenizer = load_tokenizer(path)
        self.threads = threads
        self.max_length = min(max_length or self.tokenizer.model_max_length, self.config.max_tokens)
        self.session: Any = None
        self.model: Any = None
        if file is None:
            self.model = load(path)
            headless = not isinstance(self.model, TrimformerWithHead)
        else:
            self.session = open_session(file, threads)
            headless = self.session.get_outputs()[0].name != "logits"
        if headless:
            raise TrimformerError(f"The model in {folder} has no task head to predict with: fine-tune it first.")

    def predict(
        self, texts: Sequence[str | list[str]], pairs: Sequence[str] | None = None, batch_size: int | None = None
    ) -> list[AnyAnswer]:
        """Predict for texts, or for (text, pair) couples; in the order given.

        texts: of a model that tags words, the words of each sentence (or the sentence, divided at white space); of a
        model that answers questions, the questions, and their contexts in ``pairs``.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise TrimformerError(f"Got {len(texts)} texts and {len(pairs)} pairs: give one pair for each text.")
        rows: Iterable[Any] = texts if pairs is None else zip(texts, pairs, strict=True)
        return list(self.stream(rows, batch_size))

    def stream(self, rows: Iterable[Row], batch_size: int | None = None) -> Iterator[AnyAnswer]:
        """Predict one row after another, in order, reading ahead at most 4096 (512 where words are tagged or
        questions answered), whatever the number of rows.

        rows: texts, (text, pair) couples, or lists of words; all of one form. batch_size: rows in a forward pass;
        None = as many as have 512 tokens together, which is about the fastest on CPUs. Batches hold texts of about the
        same length.
        """
        if batch_size is not None and batch_size < 1:
            raise TrimformerError(f"The batch size must be at least 1, got {batch_size}.")
        iterator = iter(rows)
        while window := list(itertools.islice(iterator, WINDOW_OF_TOKENS if self._per_token else WINDOW)):
            data = tokenise(self.kind, window, self.tokenizer, self.max_length)
            yield from answers(data, self._logits(data, batch_size), self.config.label_names)

    @property
    def _per_token(self) -> bool:
        return self.kind in ("tokens", "spans")

    def _logits(self, data: Encoded, batch_size: int | None) -> np.ndarray:
        """(rows, labels) or (tokens, labels), laid end to end as the rows of ``data``."""
        found: dict[int, np.ndarray] = {}
        for rows in batches(data.lengths, batch_size):
            found |= dict(zip(rows.tolist(), self._run(inputs(data, rows)), strict=True))
        in_order = [found[row] for row in range(len(data))]
        if not self._per_token:
            return np.stack(in_order)
        return np.concatenate([row[:length] for row, length in zip(in_order, data.lengths, strict=True)])

    def _run(self, batch: dict[str, torch.Tensor]) -> np.ndarray:
        if self.session is not None:
            return run_session(self.session, batch)
        with torch_threads(self.threads), torch.inference_mode():
            logits: np.ndarray = self.model(**batch).logits.numpy()
        return logits


def model_files(folder: str | Path, backend: Backend) -> list[Path]:
    """The files on which the answers of a :class:`Predictor` depend."""
    path = resolve(folder)
    _, file = _choose(path, backend)
    weights = [file] if file is not None else sorted(path.glob("*.safetensors"))
    return [f for f in (*sorted(path.glob("*.json")), *sorted(path.glob("*.txt")), *weights) if f.is_file()]


def _choose(path: Path, backend: Backend) -> tuple[Backend, Path | None]:
    """The backend that is meant, and its ONNX file (None for torch)."""
    if backend not in get_args(Backend):
        raise TrimformerError(f"Unknown backend {backend!r}: use one of {', '.join(get_args(Backend))}.")
    if backend == "auto":
        backend = "onnx" if _find(path, FILES["fp32"]) else "torch"
    if backend == "torch":
        return backend, None
    name = FILES["int8" if backend == "onnx-int8" else "fp32"]
    return backend, _find(path, name) or path / name


def _find(folder: Path, name: str) -> Path | None:
    """The ONNX file in the model folder, in ``onnx`` below it, or beside it in the folder of a run."""
    places = [folder, folder / "onnx"]
    folder = folder.resolve()
    if folder.name == "model":  # beside a folder of another name lies the export of who knows which model
        places.append(folder.parent / "onnx")
    return next((place / name for place in places if (place / name).is_file()), None)
