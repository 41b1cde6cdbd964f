"""Sizes as people write them."""

import pytest

from trimformer.byte_size import size_in_bytes


@pytest.mark.parametrize(
    ("text", "expected"), [("10MB", 10_000_000), ("1.5 GB", 1_500_000_000), ("800kB", 800_000), ("7B", 7), (12, 12)]
)
def test_sizes(text, expected):
    assert size_in_bytes(text) == expected


@pytest.mark.parametrize("text", ["ten", "10", "10 mb", "-1MB", "MB", "1e3MB", "1MBs", "9" * 400 + "MB", True])
def test_what_is_none(text):
    with pytest.raises(ValueError, match="is not a size: write 10MB, 800kB or 1"):
        size_in_bytes(text)
