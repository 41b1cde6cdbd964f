"""The driver of the segments of a model: who goes on, with how many columns, and how it is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.encoder.test_exits import exits, with_exits
from trimformer.errors import TrimformerError
from trimformer.inference.runtimes.backends import file_in, open_backend, parts
from trimformer.inference.runtimes.exits import ExitSession, LayerCount, open_exits
from trimformer.inference.runtimes.segments import files_of, together, whole
from trimformer.saved.exits import ExitShape

UNSURE, SURE = [0.1, 0.0], [0.0, 9.0]


class Segment:
    """Is sure of the texts whose first token is at most this; remembers the size of each batch."""

    def __init__(self, sure: int | None, after: bool) -> None:
        self.sure, self.after = sure, after
        self.sizes: list[tuple[int, ...]] = []

    def outputs(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        states = given["states"] if self.after else np.asarray(given["input_ids"][..., None], np.float32)
        self.sizes.append(given["attention_mask"].shape)
        assert states.shape[:2] == given["attention_mask"].shape
        first = states[:, 0, 0]
        if self.sure is None:
            return [np.stack([first, -first], 1)]
        return [states, np.asarray([SURE if one <= self.sure else UNSURE for one in first], np.float32)]


def session_of(sure: Sequence[int]) -> tuple[ExitSession, list[Segment]]:
    segments = [*(Segment(one, place > 0) for place, one in enumerate(sure)), Segment(None, True)]
    shape = ExitShape(tuple(range(len(sure))), "entropy", 0.5)
    return ExitSession(segments, shape, "classification", len(sure) + 1), segments


def batch(first: Sequence[int], lengths: Sequence[int]) -> dict[str, Any]:
    mask = (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
    return {"input_ids": mask * np.asarray(first)[:, None], "attention_mask": mask}


def test_rows_leave_padding_shrinks_and_the_order_stays() -> None:
    session, segments = session_of([1, 2])
    given = batch([7, 1, 2, 8, 1], [3, 9, 6, 2, 4])
    logits = session.run(given)
    assert logits.tolist() == [[7, -7], pytest.approx(SURE), pytest.approx(SURE), [8, -8], pytest.approx(SURE)]
    assert [one.sizes for one in segments] == [[(5, 9)], [(3, 6)], [(2, 3)]]
    assert session.executed.take() == [2, 1, 2]
    assert session.executed.take() == [0, 0, 0]


def test_where_all_have_left_nothing_more_is_computed() -> None:
    session, segments = session_of([1, 2])
    session.run(batch([1, 1], [3, 2]))
    assert [len(one.sizes) for one in segments] == [1, 0, 0]
    assert [len(logits) for logits in session.run_through(batch([1, 1], [3, 2]))] == [2, 2, 2]


def test_several_threads_count_together() -> None:
    counted = LayerCount(3)

    def count() -> None:
        for _ in range(2000):
            counted.add([1, 3])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.take() == [8000, 0, 8000]


def test_names_say_of_how_many_files_one_is(tmp_path: Path) -> None:
    found = files_of(tmp_path / "model.int8.xml", 2)
    assert [file.name for file in found] == ["model.int8.1-of-2.xml", "model.int8.2-of-2.xml"]
    assert together(found[1]) == found
    assert whole(found[1]) == tmp_path / "model.int8.xml"
    assert files_of(tmp_path / "model.onnx", 1) == together(tmp_path / "model.onnx") == [tmp_path / "model.onnx"]
    assert len(parts(found[0])) == 4
    assert file_in(tmp_path, "onnx-int8", exits(after=[0])) == tmp_path / "model.int8.1-of-2.onnx"
    assert file_in(tmp_path, "onnx-int8", None) == tmp_path / "model.int8.onnx"


def test_files_without_their_configuration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match=r"There is no config\.json in .*: copy all files of the export together"):
        open_backend(tmp_path / "model.1-of-2.onnx", "onnx")
    with_exits(given=exits(after=[0, 2])).save_pretrained(tmp_path)
    with pytest.raises(TrimformerError, match=r"The files of 2 segments do not belong to .* which speaks of 3"):
        open_backend(tmp_path / "model.1-of-2.onnx", "onnx")
    with pytest.raises(TrimformerError, match=r"There is no .*model\.1-of-3\.onnx: export the model first"):
        open_backend(tmp_path / "model.2-of-3.onnx", "onnx")


def test_the_threshold_is_that_of_the_configuration(tmp_path: Path) -> None:
    with_exits(given=exits(threshold=2, after=[0])).save_pretrained(tmp_path)
    segments = [Segment(0, False), Segment(None, True)]
    openers = [lambda: segments[0], lambda: segments[1]]
    for threshold, counts in ((2, [2, 0, 0, 0]), (0, [0, 0, 0, 2])):
        file = tmp_path / "config.json"
        values = json.loads(file.read_text()) | {"exits": exits(threshold=threshold, after=[0])}
        file.write_text(json.dumps(values))
        session = open_exits(tmp_path, "onnx", openers)
        session.run(batch([5, 6], [3, 2]))
        assert session.executed.take() == counts


def test_a_file_may_have_a_threshold_of_its_own(tmp_path: Path) -> None:
    with_exits(given=exits(threshold=2, after=[0], thresholds={"onnx-int8": 0})).save_pretrained(tmp_path)
    segments = [Segment(0, False), Segment(None, True)]
    for backend, counts in (("onnx", [2, 0, 0, 0]), ("onnx-int8", [0, 0, 0, 2])):
        session = open_exits(tmp_path, backend, [lambda: segments[0], lambda: segments[1]])
        session.run(batch([5, 6], [3, 2]))
        assert session.executed.take() == counts
