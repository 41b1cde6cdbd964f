"""The number of threads that PyTorch runs with."""

from __future__ import annotations

import threading

import pytest
import torch

from trimformer import threads as module
from trimformer.threads import torch_threads


def test_the_number_of_torch_threads_belongs_to_one_python_thread_at_a_time() -> None:
    inside = threading.Event()

    def other() -> None:
        with torch_threads(1):
            inside.set()

    waiting = threading.Thread(target=other)
    with torch_threads(2):
        waiting.start()
        assert not inside.wait(0.1)
    waiting.join(10)
    assert inside.is_set()


def test_torch_takes_no_more_threads_than_there_are_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    before = torch.get_num_threads()
    with torch_threads(2):
        assert torch.get_num_threads() == 2
        with torch_threads(None):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before
