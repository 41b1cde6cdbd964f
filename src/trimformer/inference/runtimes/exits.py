"""A model with exits in its exported files: texts that are sure leave after a segment, the others go on without them.

After each exit the batch has fewer rows and, where the longest have left, fewer columns. The answers come back in the
order of the texts. Rule and threshold are those of config.json.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...errors import TrimformerError
from ...saved.config import read_own
from ...saved.exits import ExitShape, Leaving
from ..reading import kind_of
from .segments import TEXT_MASK, SegmentSession, all_outputs, next_inputs, segments_in
from .session import arrays


class LayerCount:
    """Counts the layers that texts go through, in any thread. layers: that the encoder has."""

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self._counts: Counter[int] = Counter()
        self._lock = threading.Lock()

    def add(self, executed: Iterable[int]) -> None:
        """executed: the layers of each text."""
        with self._lock:
            self._counts.update(executed)

    def take(self) -> list[int]:
        """The texts that went through 1, 2, … layers since this was last asked."""
        with self._lock:
            found, self._counts = self._counts, Counter()
        return [found[layers] for layers in range(1, self.layers + 1)]


class ExitSession:
    """The segments of a model, opened, as a session whose texts may leave early.

    kind: of task. layers: of the encoder. ``shape`` says when a text leaves, ``executed`` counts the layers of each.
    in_fp32: when texts leave the files of the model in fp32; None: these files have no threshold of their own.
    """

    output = "logits"

    def __init__(
        self,
        segments: Sequence[SegmentSession],
        shape: ExitShape,
        kind: str,
        layers: int,
        in_fp32: ExitShape | None = None,
    ) -> None:
        self._segments, self.shape, self._kind, self.layers = segments, shape, kind, layers
        self._in_fp32 = in_fp32 or shape
        self._done = [*(layer + 1 for layer in shape.after), layers]  # after each segment
        self.executed = LayerCount(layers)

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The logits of each text, from the exit where it left; those at padding mean nothing.

        inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0).
        """
        given = arrays(inputs)
        rows = np.arange(len(given["input_ids"]))
        executed, leaving = np.zeros_like(rows), Leaving(self.shape, self._kind)
        found: np.ndarray | None = None
        for segment, done in zip(self._segments, self._done, strict=True):
            outputs = segment.outputs(given)
            logits, is_last = outputs[-1], len(outputs) == 1
            found = np.zeros_like(logits) if found is None else found
            gone = np.ones(len(rows), dtype=bool) if is_last else leaving(logits, given["attention_mask"])
            given = next_inputs(outputs, given)  # of the last one nobody reads them
            if not gone.any():
                continue
            at = rows[gone] if logits.ndim == 2 else (rows[gone], slice(logits.shape[1]))
            found[at], executed[rows[gone]] = logits[gone], done
            rows = rows[~gone]
            if not len(rows):
                break
            given = _of_rows(given, ~gone)
        self.executed.add(executed.tolist())
        assert found is not None
        return found

    @property
    def as_in_fp32(self) -> ExitSession:
        """The same files, whose texts leave at the threshold of fp32; these themselves where that is theirs."""
        if self.shape == self._in_fp32:
            return self
        return ExitSession(self._segments, self._in_fp32, self._kind, self.layers)

    def run_through(self, inputs: Mapping[str, ArrayLike]) -> list[np.ndarray]:
        """The logits of every text at each exit and at the end, where nobody leaves."""
        return list(all_outputs(self._segments, arrays(inputs)))


def _of_rows(given: dict[str, np.ndarray], stay: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of some rows, without the columns at the end that are padding of all of them."""
    rows = {name: values[stay] for name, values in given.items()}
    n = _columns(rows["attention_mask"])
    return {name: values[:, : _columns(values) if name == TEXT_MASK else n] for name, values in rows.items()}


def _columns(mask: np.ndarray) -> int:
    """How many columns of a mask hold real tokens."""
    columns = np.flatnonzero(mask.any(0))
    return int(columns[-1]) + 1 if len(columns) else 1


def open_exits(folder: Path, backend: str, openers: Sequence[Callable[[], Any]]) -> ExitSession:
    """The segments of a model, each opened by its function, with the rule that config.json in ``folder`` gives the
    files of this back-end.

    Raises TrimformerError where there is no config.json, or where it is that of another model.
    """
    if not (folder / "config.json").is_file():
        raise TrimformerError(
            f"There is no config.json in {folder}, which says when texts leave: copy all files of the export together."
        )
    config = read_own(folder)
    if config is None or config.exits is None or segments_in(config.exits) != len(openers):
        raise TrimformerError(
            f"The files of {len(openers)} segments do not belong to {folder / 'config.json'}, which speaks of "
            f"{segments_in(config.exits if config else None)}: export the model again."
        )
    shape, kind, layers = ExitShape.read(config.exits), kind_of(folder), len(config.layers or [])
    shape.check_kind(kind, len(config.label_names))
    shape.check_layers(layers)
    in_fp32 = dataclasses.replace(shape, thresholds=None)
    return ExitSession([opened() for opened in openers], shape.of_file(backend), kind, layers, in_fp32)


def counts_of(session: Any) -> LayerCount | None:
    """What counts the layers of the texts that a session answers; None where it counts none."""
    counts: LayerCount | None = getattr(session, "executed", None)
    return counts


def executed_of(session: Any, config: Any) -> LayerCount | None:
    """What counts the layers of texts: the session does, or whoever runs the model in PyTorch; None without exits."""
    counts = counts_of(session)
    return LayerCount(len(config.layers)) if counts is None and config.exits is not None else counts
