"""How many rows the tokenizer gets at a time, which bounds the memory for its Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

ROWS = 1000
CHARACTERS = 2_000_000


def chunks(lengths: Iterable[int]) -> Iterator[slice]:
    """Slices of rows in order, of at most 1000 rows and 2 million characters, or of one row that is longer.

    lengths: characters of each row.
    """
    start = size = 0
    stop = -1
    for stop, length in enumerate(lengths):
        if stop > start and (stop - start == ROWS or size + length > CHARACTERS):
            yield slice(start, stop)
            start, size = stop, 0
        size += length
    if stop >= start:
        yield slice(start, stop + 1)
