"""Writing so that nothing half-written ever looks whole: to a temporary name first, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from .errors import TrimformerError


@contextlib.contextmanager
def explain_write_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not from the system: libraries derive their own errors from OSError
            raise
        raise _refused(target, error.errno) from error
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise _refused(target, int(number[1])) from error
    except RuntimeError as error:
        if "inline_container" not in str(error):  # how torch.save says that not all bytes went to the disk
            raise
        raise _refused(target, errno.ENOSPC) from error


def _refused(target: Path, number: int) -> TrimformerError:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return TrimformerError(f"The disk is full while writing {target}: free some space and try again.")
    reason = os.strerror(number).lower()
    return TrimformerError(f"{target} cannot be written ({reason}): choose a place that you may write to.")


def cache_folder() -> Path:
    """Where things are kept that can be made again: $TRIMFORMER_CACHE or ~/.cache/trimformer."""
    return Path(os.environ.get("TRIMFORMER_CACHE") or Path.home() / ".cache" / "trimformer")


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``; it replaces ``target`` only when the block ends without an error."""
    temporary = target.with_name(f".{target.name}.tmp")
    with explain_write_errors(target):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary file name beside ``target``; it is renamed when the block ends without an error.

    Two processes that write the same file do not disturb each other: it is the later one's.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with explain_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def require_new_folder(folder: Path) -> None:
    """Raise TrimformerError where the output folder exists and is not empty, or has no name of its own."""
    if folder.name in ("", ".."):
        raise TrimformerError(f"The output folder {folder} has no name of its own: name a new folder.")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise TrimformerError(f"The output folder {folder} exists and is not empty: choose another one.")
