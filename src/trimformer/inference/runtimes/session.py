"""What runs an exported file, whatever the runtime: one small protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from ...errors import TrimformerError
from ...files import require_readable

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Session(Protocol):
    """An exported encoder, opened. ``output``: ``logits`` or ``last_hidden_state``."""

    @property
    def output(self) -> str: ...

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0).

        May be called from several threads at the same time.
        """
        ...


def arrays(inputs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """The inputs of an exported encoder, all three, as arrays; that of a tensor shares its memory."""
    given = {name: np.asarray(values) for name, values in inputs.items()}
    given.setdefault("token_type_ids", np.zeros_like(given["input_ids"]))
    return {name: given[name] for name in INPUTS}


def require_file(path: Path) -> None:
    """Raise TrimformerError where there is no exported file."""
    if not path.is_file():
        raise TrimformerError(f"There is no {path}: export the model first (trimformer.export).")
    require_readable(path)


def damaged(path: Path, form: str, error: Exception) -> TrimformerError:
    """What is raised where a runtime, which has its own class for each kind of damage, cannot read a file."""
    return TrimformerError(
        f"{path} is not a readable {form} ({type(error).__name__}), it is damaged or cut short: export it again."
    )
