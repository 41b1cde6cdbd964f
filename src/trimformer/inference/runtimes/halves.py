"""A split model in its two files, as a session: each text of a pair goes through the lower one by itself.

``model.onnx`` is the upper half, and ``model.lower.onnx`` beside it the lower one; so of int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .onnx import OnnxSession
from .session import arrays

DIGEST = "trimformer.lower"
"""In the lower file: the digest of the weights that it was made of."""
UPPER_INPUTS = ("states", "attention_mask")


def lower_of(path: Path) -> Path:
    """The file of the lower half, beside that of the upper one."""
    return path.with_name(f"{path.name.partition('.')[0]}.lower.{path.name.partition('.')[2]}")


class HalvesSession:
    """Both halves under ONNX Runtime; ``threads`` as of :class:`OnnxSession`, whose errors it raises."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._lower, self._upper = OnnxSession(lower_of(path), threads), OnnxSession(path, threads)
        self.output = self._upper.output
        self.digest = self._lower.about.get(DIGEST, "")

    def lower(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """States of texts, each alone in its row, float32 (batch, n, hidden)."""
        return self._lower.run(inputs)

    def upper(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What the model gives for rows whose states are known."""
        return self._upper.outputs({"states": states, "attention_mask": mask})[0]

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0)."""
        given = arrays(inputs)
        second = given["token_type_ids"] > 0
        real = given["attention_mask"] > 0
        states, home, start = [], np.zeros_like(given["input_ids"]), 0
        members = [member for member in (real & ~second, real & second) if member.any()] or [~real]
        for member in members:
            count = member.sum(1, keepdims=True)
            length = int(count.max())
            places = np.argsort(~member, axis=1, kind="stable")[:, :length]
            text = {name: np.take_along_axis(values, places, 1) for name, values in given.items()}
            text["attention_mask"] = (np.arange(length) < np.maximum(count, 1)).astype(np.int64)
            states.append(self.lower(text))
            home = np.where(member, start + member.cumsum(1) - 1, home)
            start += length
        joined = np.take_along_axis(np.concatenate(states, 1), home[..., None], 1)
        return self.upper(joined, given["attention_mask"])
