"""Memory that one training step frees is there for the next."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator

# Parameters of mallopt, by the numbers that they have in glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
LARGEST = 32 * 2**20
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
GIVEN_BACK = {MMAP_MAX: 65536, MMAP_THRESHOLD: LARGEST, TRIM_THRESHOLD: 2 * LARGEST}
"""What glibc comes to by itself as soon as a block of that size was freed; after a first call it no longer does."""


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed with the process until the block ends, where the C library is glibc.

    It gives blocks of more than 32 MiB back to the system at once, and the system clears each page of the next one when
    it is first written. The gradient of a word table is such a block in every step: 30,522 rows of 384 columns take 47
    MB. Afterwards it does so again, and what is free is given back.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    _set(library, KEPT)
    try:
        yield
    finally:
        _set(library, GIVEN_BACK)
        library.malloc_trim(0)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)
