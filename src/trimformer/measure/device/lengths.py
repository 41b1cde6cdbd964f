"""Lengths at which a table of the device is measured: powers of two, so that the next task finds it there."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from .table import LatencyTable, Model, Way, fitting


def rungs(length: int, most: int) -> list[int]:
    """The lengths that are measured for one: itself where it is a power of two or the most, else those around it."""
    below = 1 << (length.bit_length() - 1)
    return [length] if length in (below, most) else [below, min(2 * below, most)]


def find(tables: Sequence[LatencyTable], model: Model, way: Way) -> LatencyTable | None:
    """The first that can predict the model, else one between two that have the same pieces."""
    if measured := fitting(tables, model, way):
        return measured[0]
    backend, batch, length, threads = way
    around = rungs(length, model.config.max_tokens)
    if len(around) == 1:
        return None
    below, above = (fitting(tables, model, (backend, batch, rung, threads)) for rung in around)
    pairs = itertools.product(below, above)
    return next((between(one, other, length) for one, other in pairs if one.sizes == other.sizes), None)


def between(shorter: LatencyTable, longer: LatencyTable, length: int) -> LatencyTable:
    """The table of a length between those of two that have the same pieces: each lies on a straight line."""
    share = (length - shorter.length) / (longer.length - shorter.length)
    pieces = {
        name: {size: (1 - share) * time + share * longer.pieces[name][size] for size, time in times.items()}
        for name, times in shorter.pieces.items()
    }
    return dataclasses.replace(shorter, length=length, pieces=pieces)
