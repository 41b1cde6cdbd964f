"""Worker processes: what happens when one fails or dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tinymodel import write_stock_bert
from trimformer.errors import TrimformerError
from trimformer.inference.predict.labeller import LabelJob
from trimformer.inference.predict.rows import Format, Piece, Row
from trimformer.inference.predict.workers import label_in_processes


class Deadly(Format):
    """Kills the process that reads a piece behind line 9."""

    def read(self, piece: Piece) -> Iterator[Row]:
        if piece.line > 9:
            os._exit(9)
        return super().read(piece)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Piece(b"caf\xe9\n", 2, 5), "a.txt is not UTF-8 at line 2: convert it first."),
        (Piece(b"good\n", 10, 5), "A worker process died, perhaps for lack of memory: try again with fewer --workers."),
    ],
)
def test_what_goes_wrong_in_a_worker_is_one_sentence(bad: Piece, message: str, tmp_path: Path) -> None:
    job = LabelJob(str(write_stock_bert(tmp_path, ["pos", "neg"])), Deadly("a.txt", "", ()), "torch", None, False, 1)
    labelled = label_in_processes(job, [Piece(b"good\n", 1, 0), *[bad] * 9], 1)
    with pytest.raises(TrimformerError) as raised:
        list(labelled)
    assert str(raised.value) == message
