"""Predict from a model folder, in PyTorch or ONNX Runtime, for a list of texts or an endless stream."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from ..encoder import TrimformerWithHead
from ..encoder.load import load, load_tokenizer, read_config, resolve
from ..errors import TrimformerError
from .onnx import FILES
from .session import open_session, run_session, torch_threads

Backend = Literal["auto", "torch", "onnx", "onnx-int8"]
Row = str | tuple[str, str]

# Batches that are read ahead and sorted by length together: most of the padding is gone at 16, memory stays
# small.
WINDOW = 16


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says about one text.

    label: name of the most probable label; None for regression. score: its probability, or the number
    predicted.
    scores: probability of each label by name; empty for regression.
    """

    label: str | None
    score: float
    scores: dict[str, float]


class Predictor:
    """A classifier or regressor loaded from a folder, ready to predict.

    folder: model folder (or hub id) with config.json, tokenizer and weights; ONNX files are looked for in it, in its
        ``onnx`` subfolder and, if it is called ``model``, in ``onnx`` beside it, as a run leaves them. Weights are
        read by the ``torch`` backend only.
    backend: ``auto`` takes ``model.onnx`` where there is one, else ``torch``; int8 changes the numbers a
        little and is taken only when asked for.
    threads: for the chosen backend; None = as the backend likes. max_length: longest input in tokens (longer
        texts are cut); None = as long as the model allows.

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
        if backend not in get_args(Backend):
            raise TrimformerError(f"Unknown backend {backend!r}: use one of {', '.join(get_args(Backend))}.")
        path = resolve(folder)
        self.config = read_config(path)
        self.tokenizer = load_tokenizer(path)
        self.threads = threads
        self.max_length = min(max_length or self.config.max_tokens, self.config.max_tokens)
        found = {kind: _find(path, name) for kind, name in FILES.items()}
        self.backend = backend if backend != "auto" else "onnx" if found["fp32"] else "torch"
        self.session: Any = None
        self.model: Any = None
        if self.backend == "torch":
            self.model = load(path)
            headless = not isinstance(self.model, TrimformerWithHead)
        else:
            precision = "int8" if self.backend == "onnx-int8" else "fp32"
            self.session = open_session(found[precision] or path / FILES[precision], threads)
            headless = self.session.get_outputs()[0].name != "logits"
        if headless:
            raise TrimformerError(f"The model in {folder} has no task head to predict with: fine-tune it first.")

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, batch_size: int = 32
    ) -> list[Prediction]:
        """Predict for texts, or for (text, pair) couples; in the order given."""
        if pairs is not None and len(pairs) != len(texts):
            raise TrimformerError(f"Got {len(texts)} texts and {len(pairs)} pairs: give one pair for each text.")
        rows: Iterable[Row] = texts if pairs is None else zip(texts, pairs, strict=True)
        return list(self.stream(rows, batch_size))

    def stream(self, rows: Iterable[Row], batch_size: int = 32) -> Iterator[Prediction]:
        """Predict one row after another, in order, reading ahead at most 16 batches whatever the number of
        rows.

        rows: texts, or (text, pair) couples; all of one kind. Within the rows read ahead, batches hold texts
        of about the same length.
        """
        if batch_size < 1:
            raise TrimformerError(f"The batch size must be at least 1, got {batch_size}.")
        iterator = iter(rows)
        while window := list(itertools.islice(iterator, batch_size * WINDOW)):
            yield from self._predict_window(window, batch_size)

    def _predict_window(self, window: list[Row], batch_size: int) -> list[Prediction]:
        encoded = [self._encode(row) for row in window]
        by_length = sorted(range(len(window)), key=lambda index: len(encoded[index]["input_ids"]))
        predictions: dict[int, Prediction] = {}
        for chosen in _chunks(by_length, batch_size):
            logits = self._logits([encoded[index] for index in chosen])
            predictions |= dict(zip(chosen, map(self._prediction, logits), strict=True))
        return [predictions[index] for index in range(len(window))]

    def _encode(self, row: Row) -> dict[str, list[int]]:
        text, pair = (row, None) if isinstance(row, str) else row
        encoding = self.tokenizer(text, pair, truncation=True, max_length=self.max_length)
        return {name: encoding[name] for name in encoding}

    def _logits(self, encoded: list[dict[str, list[int]]]) -> np.ndarray:
        inputs: dict[str, Tensor] = dict(self.tokenizer.pad(encoded, return_tensors="pt"))
        if self.session is not None:
            return run_session(self.session, inputs)
        with torch_threads(self.threads), torch.inference_mode():
            logits: np.ndarray = self.model(**inputs).logits.numpy()
        return logits

    def _prediction(self, logits: np.ndarray) -> Prediction:
        if len(logits) == 1:
            return Prediction(None, float(logits[0]), {})
        labels = cast(dict[int, str], self.config.id2label)
        names = [labels[index] for index in range(len(logits))]
        scores = dict(zip(names, softmax(logits.astype(np.float64)).tolist(), strict=True))
        label = max(scores, key=lambda name: scores[name])
        return Prediction(label, scores[label], scores)


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _find(folder: Path, name: str) -> Path | None:
    """The ONNX file in the model folder, in ``onnx`` below it, or beside it in the folder of a run."""
    places = [folder, folder / "onnx"]
    folder = folder.resolve()
    if folder.name == "model":  # beside a folder of another name lies the export of who knows which model
        places.append(folder.parent / "onnx")
    return next((place / name for place in places if (place / name).is_file()), None)
