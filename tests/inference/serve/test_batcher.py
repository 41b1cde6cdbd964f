"""Batches: their size, whose failure is whose, and what a cancelled request leaves behind."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from trimformer.inference.serve.batcher import Batcher, Closed, Full

from .conftest import Stub, wait_for


@contextlib.contextmanager
def batcher(stub: Stub, workers: int = 1, **settings: Any) -> Iterator[Batcher]:
    made = Batcher(
        [stub.stream] * workers,
        threading.Semaphore(workers),
        **({"max_batch": 100, "max_wait": 0, "capacity": 100} | settings),
    )
    yield made
    stub.free.set()
    made.close()


def hold(stub: Stub, made: Batcher) -> Any:
    """The future of a text that the model works on until it is free."""
    stub.free.clear()
    future = made.submit(["first"])
    wait_for(lambda: stub.batches)
    return future


def lengths(future: Any) -> list[float]:
    return [answer.score for answer in future.result(20).answers]


def test_what_came_while_the_model_worked_is_one_batch(stub: Stub) -> None:
    with batcher(stub) as made:
        first = hold(stub, made)
        others = [made.submit(["a", "bb"]), made.submit(["ccc"])]
        assert made.waiting == 3
        stub.free.set()
        assert [lengths(future) for future in (first, *others)] == [[5], [1, 2], [3]]
        assert stub.batches == [["first"], ["a", "bb", "ccc"]]
        assert made.waiting == 0


def test_a_batch_has_so_many_tokens_and_a_long_request_several_batches(stub: Stub) -> None:
    with batcher(stub, max_batch=12) as made:
        hold(stub, made)
        long, short = made.submit(["x" * 8, "y" * 8, "z" * 8, "v" * 8]), made.submit(["short"])
        stub.free.set()
        assert (lengths(long), lengths(short)) == ([8, 8, 8, 8], [5])
        assert [len(batch) for batch in stub.batches] == [1, 3, 2]  # 8 characters are taken for 2 + 2 tokens


def test_an_idle_thread_waits_for_others(stub: Stub) -> None:
    with batcher(stub, max_wait=30, max_batch=8) as made:
        future = made.submit(["four"])
        assert stub.batches == []
        made.submit(["x" * 20])  # the batch is full
        assert lengths(future) == [4]
        assert stub.batches == [["four", "x" * 20]]


def test_workers_divide_what_waits_and_a_request_gets_its_answers_in_order(stub: Stub) -> None:
    stub.free.clear()
    with batcher(stub, workers=2) as made:
        future = made.submit(["a", "bb", "ccc", "bb"])
        wait_for(lambda: len(stub.batches) == 2)
        assert sorted(stub.batches) == [["a", "bb"], ["ccc", "bb"]]
        stub.free.set()
        assert lengths(future) == [1, 2, 3, 2]


def test_only_the_request_that_fails_fails(stub: Stub) -> None:
    with batcher(stub) as made:
        hold(stub, made)
        good, bad = made.submit(["fine"]), made.submit(["bad"])
        stub.free.set()
        assert lengths(good) == [4]
        with pytest.raises(RuntimeError, match="no such text"):
            bad.result(20)
        assert lengths(made.submit(["on and on"])) == [9]


def test_cancelled_requests_make_room_and_are_not_answered(stub: Stub) -> None:
    with batcher(stub, capacity=2) as made:
        hold(stub, made)
        dropped = made.submit(["a", "b"])
        with pytest.raises(Full):
            made.submit(["c"])
        dropped.cancel()
        kept = made.submit(["dd"])
        stub.free.set()
        assert lengths(kept) == [2]
        assert stub.batches == [["first"], ["dd"]]


def test_cancelled_while_another_model_has_its_turn(stub: Stub) -> None:
    turn = threading.Semaphore()
    made = Batcher([stub.stream], turn, max_batch=100, max_wait=0, capacity=100)
    with turn:
        dropped = made.submit(["a"])
        wait_for(lambda: made.waiting == 0)
        dropped.cancel()
    assert lengths(made.submit(["bb"])) == [2]
    assert stub.batches == [["bb"]]
    made.close()


def test_closing_answers_what_waits_and_takes_nothing_more(stub: Stub) -> None:
    with batcher(stub, max_wait=30) as made:
        waiting = made.submit(["a"])
        made.close()
        assert lengths(waiting) == [1]
        with pytest.raises(Closed):
            made.submit(["b"])
