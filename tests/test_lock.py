"""One holder at a time; the dead hold nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trimformer.errors import TrimformerError
from trimformer.lock import hold

HOLD = """
import fcntl, os, sys, time
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print("held", flush=True)
time.sleep(600)
"""
"""What :func:`hold` does, without the imports of the package."""


def test_it_says_who_holds_it_and_goes_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with hold(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(TrimformerError) as refused, hold(path):
            pass
        assert str(refused.value) == (
            f"Another process (id {os.getpid()}) is at work and holds {path}: wait until it has ended, or stop it."
        )
        assert path.exists()
    assert not path.exists()


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold(tmp_path / "lock"):
        raise KeyError
    with hold(tmp_path / "lock"):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(TrimformerError, match=rf"\(id {other.pid}\)"), hold(path):
                pass
        finally:
            other.kill()
    assert path.read_text() == f"{other.pid}\n"
    with hold(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_file_that_its_holder_deleted_meanwhile_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two would hold it: one the file that is gone, one that which the next makes."""
    path, flock = tmp_path / "lock", fcntl.flock

    def late(file: Any, how: int) -> None:
        monkeypatch.undo()
        path.unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with hold(path), pytest.raises(TrimformerError), hold(path):
        pass


def test_a_disk_without_locks_is_used_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", unknown)
    with hold(tmp_path / "lock"):
        pass


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(TrimformerError, match=r"file/lock cannot be written \(not a directory\)"),
        hold(tmp_path / "file" / "lock"),
    ):
        pass
