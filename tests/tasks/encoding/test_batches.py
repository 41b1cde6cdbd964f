import numpy as np
import pytest

from trimformer.tasks.encoding.batches import bucketed_batches

LENGTHS = np.random.default_rng(0).integers(3, 100, size=1003)


def test_every_row_once_and_seeded() -> None:
    batches = bucketed_batches(LENGTHS, 8, seed=1, epoch=2)
    assert sorted(row for batch in batches for row in batch) == list(range(1003))
    assert all(len(batch) <= 8 for batch in batches)
    assert batches == bucketed_batches(LENGTHS, 8, seed=1, epoch=2)
    assert batches != bucketed_batches(LENGTHS, 8, seed=1, epoch=3)
    assert batches != bucketed_batches(LENGTHS, 8, seed=2, epoch=2)


def test_little_padding_in_random_order() -> None:
    batches = bucketed_batches(LENGTHS, 8, seed=0, epoch=0)
    padded = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    assert padded < 1.06 * LENGTHS.sum()
    longest = [LENGTHS[batch].max() for batch in batches]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_sorted_without_shuffle() -> None:
    batches = bucketed_batches([5, 1, 4, 1, 3], 2, seed=0, epoch=0, shuffle=False)
    assert batches == [[1, 3], [4, 2], [0]]


def test_batch_size() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bucketed_batches([1, 2], 0, seed=0, epoch=0)
