"""The one exception for mistakes that the user can mend, and what becomes one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .one_line import one_line


class TrimformerError(Exception):
    """One clear sentence that names the thing and the remedy.

    The command line prints it without a traceback and exits with code 2; Python callers catch it like any exception.
    What is quoted from a file may be of any length: of a message that is too long, beginning and end are kept.
    """

    LONGEST = 2_000

    def __init__(self, message: str) -> None:
        half, message = self.LONGEST // 2, one_line(message)
        super().__init__(message if len(message) <= self.LONGEST else f"{message[:half]} … {message[-half:]}")


@contextlib.contextmanager
def explain_write_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into one sentence."""
    try:
        yield
    except BrokenPipeError:  # the reader has gone, as in `trimformer predict … | head`: nobody refused anything
        raise
    except OSError as error:
        if error.errno is None:  # not from the system: libraries derive their own errors from OSError
            raise
        raise _refused(target, error.errno) from error
    except RuntimeError as error:
        if "inline_container" not in str(error):  # how torch.save says that not all bytes went to the disk
            raise
        raise _refused(target, errno.ENOSPC) from error
    except Exception as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None or type(error).__name__ != "SafetensorError":  # by name: who only reads has no such package
            raise
        raise _refused(target, int(number[1])) from error


def _refused(target: Path, number: int) -> TrimformerError:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return TrimformerError(f"The disk is full while writing {target}: free some space and try again.")
    reason = os.strerror(number).lower()
    return TrimformerError(f"{target} cannot be written ({reason}): choose a place that you may write to.")
