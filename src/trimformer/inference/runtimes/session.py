"""What runs an exported file, whatever the runtime: one small protocol."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import TrimformerError

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Session(Protocol):
    """An exported encoder, opened. ``output``: ``logits`` or ``last_hidden_state``."""

    @property
    def output(self) -> str: ...

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0).

        May be called from several threads at the same time.
        """
        ...


def arrays(inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The inputs of an exported encoder, all three, as arrays that share the tensors' memory."""
    given = {"token_type_ids": torch.zeros_like(inputs["input_ids"])} | inputs
    return {name: given[name].numpy() for name in INPUTS}


def require(extra: str, packages: Sequence[str]) -> None:
    """Raise TrimformerError where a package of this extra is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise TrimformerError(f'This needs the package {missing[0]}: pip install "trimformer[{extra}]".')


def require_file(path: Path) -> None:
    """Raise TrimformerError where there is no exported file."""
    if not path.is_file():
        raise TrimformerError(f"There is no {path}: export the model first (trimformer.export).")


def damaged(path: Path, form: str, error: Exception) -> TrimformerError:
    """What is raised where a runtime, which has its own class for each kind of damage, cannot read a file."""
    return TrimformerError(
        f"{path} is not a readable {form} ({type(error).__name__}), it is damaged or cut short: export it again."
    )


_TORCH = threading.RLock()


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run PyTorch with this many threads inside the block, and with as many as before after it.

    The number belongs to the whole process: one Python thread at a time is inside such a block, the others wait.
    """
    with _TORCH:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
