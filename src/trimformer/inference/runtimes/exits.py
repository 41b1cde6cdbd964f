"""A model with exits in its exported files: texts that are sure leave after a segment, the others go on without them.

After each exit the batch has fewer rows and, where the longest have left, fewer columns. The answers come back in the
order of the texts. Rule and threshold are those of config.json.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...encoder.checkpoints.load import read_config, read_kind
from ...encoder.shape.exits import ExitShape, Leaving
from ...errors import TrimformerError
from .segments import SegmentSession, all_outputs, next_inputs, segments_in
from .session import arrays


class Executed:
    """How many layers texts went through; several threads may count at the same time."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._lock = threading.Lock()

    def add(self, layers: Mapping[int, int]) -> None:
        """layers: how many texts went through so many."""
        with self._lock:
            self._counts.update(layers)

    def take(self) -> dict[int, int]:
        """What was counted since this was last asked."""
        with self._lock:
            found, self._counts = self._counts, Counter()
        return dict(found)


def mean_layers(counts: Mapping[int, int]) -> float:
    """The mean number of layers of these texts; NaN of none."""
    return sum(layers * texts for layers, texts in counts.items()) / (sum(counts.values()) or np.nan)


def sentence(counts: Mapping[int, int], layers: int) -> str:
    """How many of so many layers these texts went through, for people."""
    texts = sum(counts.values())
    shares = ", ".join(f"{count / texts:.1%} after {n}" for n, count in sorted(counts.items()))
    return f"Of {layers} layers the texts went through {mean_layers(counts):.2f} on average: {shares}."


class ExitSession:
    """The segments of a model, opened, as a session whose texts may leave early.

    kind: of task. layers: of the encoder. executed: counts the layers of each text.
    """

    output = "logits"

    def __init__(self, segments: Sequence[SegmentSession], shape: ExitShape, kind: str, layers: int) -> None:
        self._segments, self.shape, self.kind, self.layers = segments, shape, kind, layers
        self.executed = Executed()

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The logits of each text, from the exit where it left; those of its tokens are 0 at padding.

        inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0).
        """
        given = arrays(inputs)
        rows = np.arange(len(given["input_ids"]))
        leaving, found, counts = Leaving(self.shape, self.kind), None, Counter[int]()
        for segment, done in zip(self._segments, self._done(), strict=True):
            outputs = segment.outputs(given)
            logits = outputs[-1]
            if found is None:
                found = np.zeros_like(logits)
            last = done == self.layers
            gone = np.ones(len(rows), dtype=bool) if last else leaving(logits, given["attention_mask"])
            at = (rows[gone],) if logits.ndim == 2 else (rows[gone], slice(logits.shape[1]))
            found[at] = logits[gone]
            counts[done] += int(gone.sum())
            rows = rows[~gone]
            if not len(rows):
                break
            given = _of_rows(next_inputs(outputs, given), ~gone)
        self.executed.add(+counts)
        assert found is not None
        return found

    def run_through(self, inputs: Mapping[str, ArrayLike]) -> list[np.ndarray]:
        """The logits of every text at each exit and at the end, where nobody leaves."""
        return list(all_outputs(self._segments, arrays(inputs)))

    def _done(self) -> list[int]:
        """The layers that a text has gone through after each segment."""
        return [*(layer + 1 for layer in self.shape.after), self.layers]


def _of_rows(given: dict[str, np.ndarray], stay: np.ndarray) -> dict[str, np.ndarray]:
    """States and mask of some rows, without the columns at the end that are padding of all of them."""
    states, mask = given["states"][stay], given["attention_mask"][stay]
    columns = mask.any(0).nonzero()[0]
    n = int(columns[-1]) + 1 if len(columns) else 1
    return {"states": states[:, :n], "attention_mask": mask[:, :n]}


def open_exits(folder: Path, openers: Sequence[Callable[[], Any]]) -> ExitSession:
    """The segments of a model, each opened by its function, with the rule that config.json in ``folder`` gives.

    Raises TrimformerError where there is no config.json, or where it is that of another model.
    """
    if not (folder / "config.json").is_file():
        raise TrimformerError(
            f"There is no config.json in {folder}, which says when texts leave: copy all files of the export together."
        )
    config = read_config(folder)
    if segments_in(config.exits) != len(openers):
        raise TrimformerError(
            f"The files of {len(openers)} segments do not belong to {folder / 'config.json'}, which names "
            f"{segments_in(config.exits)}: export the model again."
        )
    shape = ExitShape.read(config.exits)
    return ExitSession([opened() for opened in openers], shape, read_kind(folder), config.num_hidden_layers)
