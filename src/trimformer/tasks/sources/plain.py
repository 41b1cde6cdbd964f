"""Plain text has no rows with labels: a run tokenises it as a stream (``tasks/plain_text``)."""

from __future__ import annotations

from typing import NoReturn

from ...errors import TrimformerError


def refuse(*_: object) -> NoReturn:
    """Raise TrimformerError: only a run of a recipe with stages reads it."""
    raise TrimformerError(
        "The task 'text' is plain text for masked tokens, which only a recipe with stages learns from (trimformer "
        "run): name a task with labels here."
    )
