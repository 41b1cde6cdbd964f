"""Reading what this program wrote down for itself: such a file may have been changed, cut off or mixed up since."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from .errors import TrimformerError


def read_work_file(file: Path, of: Any, remedy: str) -> Any:
    """The JSON in a file as values of this type, which may be a dataclass or a list of them.

    remedy: what is to be done where the file is damaged, for the TrimformerError that says so.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise TrimformerError(f"{file} is damaged: {remedy}.") from error
    return checked(content, of, file, remedy)


def checked(values: Any, of: Any, source: object, remedy: str) -> Any:
    """Plain values as values of this type; raises TrimformerError, with the first that does not fit, where they are
    none."""
    try:
        return TypeAdapter(of).validate_python(values)
    except (ValidationError, RecursionError) as error:
        what = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            what = f" ({place}: {first['msg']})" if place else f" ({first['msg']})"
        raise TrimformerError(f"{source} is damaged{what}: {remedy}.") from error


@contextlib.contextmanager
def explain_damage(file: Path, remedy: str) -> Iterator[None]:
    """Turn what the readers of tensors and arrays raise for a damaged file, and for what does not fit, into a
    sentence."""
    try:
        yield
    except (TrimformerError, torch.OutOfMemoryError, PermissionError):
        raise
    except Exception as error:  # zip, pickle and torch raise kinds of their own
        raise TrimformerError(f"{file} is damaged: {remedy}.") from error
