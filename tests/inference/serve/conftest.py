"""A running service in this process, and a model whose speed the test decides."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from trimformer.inference.serve.app import Settings, create_app
from trimformer.inference.serve.server import address, bind, make_server
from trimformer.tasks.kinds.answers import Prediction


class Stub:
    """Answers a text with its length, when ``free`` is set; keeps the batches that it was given."""

    kind, backend, executed, passages = "classification", "stub", None, None
    config = SimpleNamespace(attention_kinds=["mean"])

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.read: list[str] | None = None
        self.free = threading.Event()
        self.free.set()

    def reading_notes(self, rows: Sequence[str]) -> list[str]:
        self.read = list(rows)
        return []

    def stream(self, rows: Sequence[str]) -> Iterator[Prediction]:
        self.batches.append(list(rows))
        assert self.free.wait(20)
        if "bad" in rows:
            raise RuntimeError("no such text")
        for row in rows:
            yield Prediction("length", float(len(row)), {})


@contextlib.contextmanager
def running(predictor: Any, against: Any = None, **settings: Any) -> Iterator[httpx2.Client]:
    """A client of the service; afterwards the service is stopped as a signal stops it."""
    app = create_app("a model", [predictor], Settings(**settings), None if against is None else ("another", [against]))
    server = make_server(app, timeout=20)
    with bind("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: server.started)
            with httpx2.Client(base_url=address(listener), timeout=20) as client:
                client.stop = lambda: setattr(server, "should_exit", True)
                yield client
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.free.set()


def wait_for(condition: Any) -> None:
    """Until something is so."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def counted(client: httpx2.Client, name: str) -> float:
    """The value of one line of /metrics; 0 where there is none."""
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if not line.startswith("#"))
    return float(lines.get(name, 0))
