"""One process at a time, whoever that is named; a killed one is in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from trimformer.errors import TrimformerError
from trimformer.lock import hold

FORK = multiprocessing.get_context("fork")


def hold_on(lock: Path, held: Connection) -> None:
    with hold(lock):
        held.send(True)
        signal.pause()


def test_another_process_is_kept_out_and_named_until_it_dies(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"
    here, there = FORK.Pipe()
    other = FORK.Process(target=hold_on, args=(lock, there))
    other.start()
    assert here.recv()
    with pytest.raises(TrimformerError) as refused, hold(lock):
        pass
    assert str(refused.value) == (
        f"Another process (id {other.pid}) is running and holds {lock}: wait until it has ended, or stop it."
    )
    other.kill()
    other.join()
    assert lock.read_text() == f"{other.pid}\n"
    with hold(lock) as left:
        assert left
        assert lock.read_text() == f"{os.getpid()}\n"
    assert not lock.exists()


def test_an_error_ends_it_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "lock") as left:
        1 / left
    assert os.listdir(tmp_path) == []


def test_a_lock_that_its_holder_deletes_meanwhile_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was opened while another held it; who holds it now would not keep out a third who makes a new file."""
    lock, flock = tmp_path / "lock", fcntl.flock

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.unlink()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    with hold(lock):
        assert lock.read_text() == f"{os.getpid()}\n"
        with pytest.raises(TrimformerError, match=rf"\(id {os.getpid()}\) is running"), hold(lock):
            pass


def test_a_disk_without_locks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    number = errno.ENOLCK
    with hold(tmp_path / "lock"), hold(tmp_path / "lock"):
        pass
    number = errno.EIO
    with pytest.raises(TrimformerError, match="cannot be written"), hold(tmp_path / "lock"):
        pass


def test_a_file_of_the_user_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff of the user")
    with (
        pytest.raises(TrimformerError, match=r"lock is not a trimformer lock, .* rename it\."),
        hold(tmp_path / "lock"),
    ):
        pass
    assert (tmp_path / "lock").read_bytes() == b"\xff of the user"
