"""A table of a device that does not exist, whose times are easy to add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models import tiny
from trimformer.cores import usable_cores
from trimformer.measure.device.table import LatencyTable, default_file, frame_of, write_tables

PIECES = {
    "rest": {0: 1.0},
    "ffn": {8: 2.0, 16: 3.0, 24: 7.0},
    "full/8": {1: 4.0, 2: 6.0},
    "conv": {3: 1.0, 9: 2.5},
    "mean": {0: 0.5},
}
FIRST = {
    "first ffn": {8: 0.1, 24: 0.3},
    "first full/8": {1: 1.0, 2: 1.5},
    "first conv": {3: 0.4, 9: 0.4},
    "first mean": {0: 0.25},
}


def table(first: bool = True, **others: Any) -> LatencyTable:
    """Of a model as ``tiny`` makes it, with a head that reads the first token, or one that reads all."""
    model = tiny(1)
    pieces = PIECES | (FIRST if first else {})
    values = {"backend": "torch", "batch": 1, "length": 8, "threads": 1, "head": type(model).__name__}
    return LatencyTable(**values | {"frame": frame_of(model.config), "pieces": pieces} | others)


def cached(patch: pytest.MonkeyPatch, folder: Path, **others: Any) -> LatencyTable:
    """Such a table of this machine in a cache of its own, so that nothing need be measured, nor is."""
    patch.setenv("TRIMFORMER_CACHE", str(folder))
    patch.setattr("trimformer.measure.device.pieces.make_variants", None)
    known = table(threads=usable_cores(), **others)
    write_tables(default_file(), [known])
    return known
