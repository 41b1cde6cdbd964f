"""Batches of rows of like length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MEGA_BATCH = 50
"""Batches sorted together: enough for even lengths, few enough that the order stays random."""


def drawn_rows(rows: int, limit: int, seed: int) -> np.ndarray:
    """The indices of at most `limit` of `rows` rows, drawn with the seed, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:limit])


def bucketed_batches(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, epoch: int, shuffle: bool = True
) -> list[list[int]]:
    """Row indices in batches; the same (seed, epoch) always gives the same ones.

    Rows are shuffled, cut into runs of 50 batches, sorted by length within a run and cut into batches, which
    are shuffled again. Every row comes once; a batch may be short. With `shuffle=False` all rows are sorted
    by length (for evaluation: the caller puts results back in order by index).
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    lengths = np.asarray(lengths)
    if not shuffle:
        return _cut(np.argsort(lengths, kind="stable"), batch_size)
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    run = MEGA_BATCH * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(order), run):
        rows = order[start : start + run]
        batches += _cut(rows[np.argsort(lengths[rows], kind="stable")], batch_size)
    return [batches[i] for i in rng.permutation(len(batches))]


def _cut(rows: np.ndarray, size: int) -> list[list[int]]:
    return [rows[start : start + size].tolist() for start in range(0, len(rows), size)]
