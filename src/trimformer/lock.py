"""A lock between processes, which the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .errors import TrimformerError, explain_write_errors

try:
    import fcntl
except ImportError:  # Windows: as on disks that know no locks
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What disks answer that know no locks, as some network disks: there nobody can be kept out."""


@contextlib.contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path``, with this process's id in it, and delete it at the end.

    Gives whether a process that was killed had left it. Raises TrimformerError with the id of the process that holds
    it, and for a file of that name that is not a lock.
    """
    with explain_write_errors(path):
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        file = _locked(path)
    with file:
        before = _holder(file)
        if before and not before.isdigit():
            raise TrimformerError(f"{path} is not a trimformer lock, but trimformer needs this name: rename it.")
        try:
            with explain_write_errors(path):
                file.truncate(0)
                print(os.getpid(), file=file, flush=True)
            yield bool(before)
        finally:
            path.unlink(missing_ok=True)  # while it is held: later it could be another's


def _locked(path: Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8", errors="replace")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                raise TrimformerError(
                    f"Another process (id {_holder(file) or 'unknown'}) is running and holds {path}: "
                    "wait until it has ended, or stop it."
                ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # its holder has deleted it since it was opened here


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read(99).strip()
