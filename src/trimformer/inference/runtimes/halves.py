"""A split model in its two files, as a session: each text of a pair goes through the lower one by itself.

``model.onnx`` is the upper half, and ``model.lower.onnx`` beside it the lower one; so of other precisions and runtimes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from .session import Session, arrays

DIGEST = "trimformer.lower"
"""In the lower file: the digest of the weights that it was made of."""
UPPER_INPUTS = ("states", "attention_mask")


class HalfSession(Session, Protocol):
    """What runs a half. about: what was written into its file beside the graph."""

    about: dict[str, str]

    def outputs(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs, from all inputs by their names."""
        ...


def lower_of(path: Path) -> Path:
    """The file of the lower half, beside that of the upper one."""
    return path.with_name(f"{path.name.partition('.')[0]}.lower.{path.name.partition('.')[2]}")


def is_half(path: Path) -> bool:
    """Whether it is the file of one of the two halves."""
    return path.name.partition(".")[2].startswith("lower.") or lower_of(path).is_file()


class HalvesSession:
    """Both halves, opened under the same runtime."""

    def __init__(self, upper: HalfSession, lower: HalfSession) -> None:
        self._upper, self._lower = upper, lower
        self.output = upper.output
        self.digest = lower.about.get(DIGEST, "")

    def lower(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """States of texts, each alone in its row, float32 (batch, n, hidden)."""
        return self._lower.run(inputs)

    def upper(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What the model gives for rows whose states are known."""
        return self._upper.outputs({"states": states, "attention_mask": mask})[0]

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0)."""
        given = arrays(inputs)
        texts, home = texts_of(given)
        return self.upper(joined([self.lower(text) for text in texts], home), given["attention_mask"])


def texts_of(given: Mapping[str, np.ndarray]) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """The inputs of the lower half, each text of a pair alone in its row, and where the tokens of rows are among them.

    given: of the whole model, all three. The first and the second texts, without those that no row has; home: int64
    (batch, n), the place of each token in all of these side by side.
    """
    second = given["token_type_ids"] > 0
    real = given["attention_mask"] > 0
    texts, home, start = [], np.zeros_like(given["input_ids"]), 0
    members = [member for member in (real & ~second, real & second) if member.any()] or [~real]
    for member in members:
        count = member.sum(1, keepdims=True)
        length = int(count.max())
        places = np.argsort(~member, axis=1, kind="stable")[:, :length]
        text = {name: np.take_along_axis(values, places, 1) for name, values in given.items()}
        text["attention_mask"] = (np.arange(length) < np.maximum(count, 1)).astype(np.int64)
        texts.append(text)
        home = np.where(member, start + member.cumsum(1) - 1, home)
        start += length
    return texts, home


def joined(states: Sequence[np.ndarray], home: np.ndarray) -> np.ndarray:
    """The states of texts, each (batch, m, hidden), back in their rows: (batch, n, hidden)."""
    found: np.ndarray = np.take_along_axis(np.concatenate(states, 1), home[..., None], 1)
    return found
