"""Other libraries' progress bars, which say nothing that the user asked for: a bar for one file, written at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def no_foreign_bars() -> Iterator[None]:
    """No bars of transformers inside the block; afterwards as the user has them."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
