"""The axes of weights by name, and what gates keep of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import TrimformerError
from ..shape.points import POINTS

Axes = tuple[str | None, ...]
"""The names of the axes of a weight; None: nothing ever cuts that axis."""


COLUMNS = "bias_columns"
"""The columns of a layer's heads in a table with a bias for each head that all layers share; else all, in order."""


class Axis(NamedTuple):
    """What is kept of an axis of weights: these ``rows``, each times its ``factor`` where there are factors."""

    rows: Tensor
    factor: Tensor | None = None


def axis_of(gates: Tensor) -> Axis:
    """What gates (size,) keep."""
    index = gates.nonzero().flatten()
    return _with_factor(index, gates[index])


def in_heads(gates: Tensor, alive: Tensor) -> Axis:
    """The kept dimensions among (heads, size): as many in each living head as in the one that keeps most.

    At least one; a head that keeps fewer gets others with the factor 0.
    """
    size = max(1, int((gates[alive] != 0).sum(1).max()))
    chosen = torch.sort((gates == 0).int(), dim=1, stable=True).indices[:, :size].sort(1).values[alive]
    rows = alive.nonzero().flatten()[:, None]
    return _with_factor((rows * gates.shape[1] + chosen).flatten(), gates[rows, chosen].flatten())


def values_of(gates: Any, point: str, size: tuple[int, ...], where: str = "") -> Tensor:
    """The gates of a point on the CPU, ones where none are given; raises TrimformerError for another size."""
    given = getattr(gates, point)
    if given is None:
        return torch.ones(size)
    if tuple(given.shape) != size:
        of = f"{POINTS[point].of} of {where}" if where else POINTS[point].of
        raise TrimformerError(f"The gates of {of} have shape {tuple(given.shape)} instead of {size}.")
    found: Tensor = given.detach().cpu()
    return found


def _with_factor(index: Tensor, factor: Tensor) -> Axis:
    return Axis(index, None if (factor == 1).all() else factor)
