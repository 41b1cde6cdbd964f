"""Worker processes: what happens when one dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tinymodel import write_stock_bert
from trimformer.errors import TrimformerError
from trimformer.predict.labeller import Job
from trimformer.predict.rows import Format, Piece, Row
from trimformer.predict.workers import label_in_processes


class Deadly(Format):
    """Kills the process that reads the second piece."""

    def read(self, piece: Piece) -> Iterator[Row]:
        if piece.line > 1:
            os._exit(9)
        return super().read(piece)


def test_a_dead_worker_is_one_sentence(tmp_path: Path) -> None:
    job = Job(str(write_stock_bert(tmp_path, ["pos", "neg"])), Deadly("a.txt", "", ()), "torch", None, False, 1)
    labelled = label_in_processes(job, [Piece(b"good\n", 1, 0), *[Piece(b"good\n", 2, 5)] * 9], 1)
    with pytest.raises(TrimformerError, match="A worker process died"):
        list(labelled)
