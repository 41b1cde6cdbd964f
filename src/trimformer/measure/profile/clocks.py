"""What takes the time of the operators inside a pass, whatever the runtime; and PyTorch's."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...encoder.checkpoints.load import load
from ...encoder.parts.components import Component
from ...training.evaluate import fastest_device
from ..bench.variants import TORCH, open_variant
from .follow import followed
from .graph import Known


@dataclasses.dataclass
class Pass:
    """Milliseconds of one pass. parts: of each component, None: what belongs to none. fused: of operators that the
    runtime has made of several components, in ``parts`` under None."""

    parts: dict[Component | None, float]
    fused: float = 0.0


class Clock(Protocol):
    """A model opened so that each operator is timed. known: makes the names of its exported graph."""

    def __init__(self, path: Path, backend: str, threads: int, known: Callable[[], Known]) -> None: ...

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """One pass; its output."""
        ...

    def passes(self) -> list[Pass]:
        """All passes so far, in their order; nothing may run after that."""
        ...


class TorchClock:
    """This encoder in PyTorch, by hooks on its modules; a GPU is waited for at each."""

    def __init__(self, path: Path, backend: str, threads: int, known: Callable[[], Known]) -> None:
        modules: dict[Any, Any] = {(path, TORCH[backend]): _in(path, TORCH[backend])}
        self.run_module, _ = open_variant(path, backend, threads, modules)
        self.module = modules[path, TORCH[backend]]
        self.on_gpu = fastest_device().type == "cuda"
        self.taken: list[Pass] = []

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        parts: dict[Component | None, float] = collections.defaultdict(float)
        current: Component | None = None
        since = 0.0

        def told(component: Component | None) -> None:
            nonlocal current, since
            if self.on_gpu:
                torch.cuda.synchronize()
            now = time.perf_counter()
            parts[current] += (now - since) * 1e3
            current, since = component, now

        with followed(self.module, told):
            since = time.perf_counter()
            output = self.run_module(inputs)
            told(None)
        self.taken.append(Pass(parts))
        return output

    def passes(self) -> list[Pass]:
        return self.taken


def _in(path: Path, dtype: torch.dtype) -> Any:
    """The model with its weights in this type."""
    net: Any = load(path)
    return net.to(dtype)


def by_component(times: Mapping[str, float], found: Mapping[str, Component | None], fused: set[str]) -> Pass:
    """A pass from the milliseconds of its operators."""
    parts: dict[Component | None, float] = collections.defaultdict(float)
    for name, ms in times.items():
        parts[found.get(name)] += ms
    return Pass(parts, sum(ms for name, ms in times.items() if name in fused))
