"""Vectors as files of numbers: `.npy`, or `.parquet` with a column of lists.

They are first written as bare float32, row after row, which a cut run can go on with, and get their form at the end.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TrimformerError
from ...extras import require
from ...saved.kinds import Kind

ENDINGS = (".npy", ".parquet")
COLUMN = "vector"
ROWS = 4096
"""Rows of Parquet that are written at a time."""


def holds_vectors(out: Path | None, kind: Kind, as_json: bool) -> bool:
    """Whether the output is a file of numbers, by its ending; raises TrimformerError where answers are no vectors."""
    if out is None or out.suffix.lower() not in ENDINGS:
        return False
    if kind != "embedding":
        raise TrimformerError(
            f"{out} is to hold vectors, and this model answers with {kind}: choose an ending such as .jsonl or .txt."
        )
    if as_json:
        raise TrimformerError(f"--json writes lines of JSON, and {out} holds numbers alone: leave one of the two.")
    if out.suffix.lower() == ".parquet":
        require("train", ["pyarrow"])
    return True


def packed(answer: Any) -> bytes:
    """A vector as bare float32, little-endian."""
    return np.asarray(answer.vector, dtype="<f4").tobytes()


def give_form(bare: Path, rows: int, target: Path, ending: str) -> None:
    """Write the bare numbers of so many rows as a file with this ending."""
    size = bare.stat().st_size // 4 // rows if rows else 0
    if ending == ".npy":
        with target.open("wb") as file, bare.open("rb") as numbers:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, size)})
            shutil.copyfileobj(numbers, file)
        return
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(COLUMN, pa.list_(pa.float32()))])
    values = np.memmap(bare, dtype="<f4", mode="r", shape=(rows, size)) if rows else np.zeros((0, 0), "<f4")
    with parquet.ParquetWriter(target, schema) as writer:
        for begin in range(0, rows, ROWS):
            part = values[begin : begin + ROWS]
            ends = pa.array(np.arange(len(part) + 1, dtype=np.int32) * size)
            writer.write_table(pa.table([pa.ListArray.from_arrays(ends, pa.array(part.ravel()))], schema=schema))
