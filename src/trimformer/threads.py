"""How many threads PyTorch runs with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

from .cores import usable_cores

_TORCH = threading.RLock()


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run PyTorch with this many threads inside the block, and with as many as before after it.

    threads: None = as many as before, and no more than the cores that the process may use.

    The number belongs to the whole process: one Python thread at a time is inside such a block, the others wait.
    """
    with _TORCH:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or min(before, usable_cores()))
        try:
            yield
        finally:
            torch.set_num_threads(before)
