"""A lock between processes, which the kernel takes back when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .errors import TrimformerError
from .files import explain_write_errors

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What disks without locks answer, as some network disks are: nobody can be kept out there."""


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which says this process's id, and delete it at the end.

    A file that a killed process left is taken over. Raises TrimformerError with the id of the process that holds it.
    """
    with explain_write_errors(path):
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path)
    try:
        with explain_write_errors(path):
            file.truncate(0)
            print(os.getpid(), file=file, flush=True)
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is given back, or it could be another's file by now
        file.close()


def _locked(path: Path) -> TextIO:
    """The open file, locked. Its last holder may have deleted it before the lock was free; then there is a new one."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                file.seek(0)
                holder = file.read().strip() or "unknown"
            raise TrimformerError(
                f"Another process (id {holder}) is at work and holds {path}: wait until it has ended, or stop it."
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()
