import pytest

from trimformer.tasks.encoding import chunks


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [([], []), ([1] * 7, [3, 3, 1]), ([4, 6, 1], [2, 1]), ([99, 1, 99], [1, 1, 1]), ([0, 0, 0], [3])],
)
def test_rows_and_characters_bound_a_chunk(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], sizes: list[int]
) -> None:
    monkeypatch.setattr(chunks, "ROWS", 3)
    monkeypatch.setattr(chunks, "CHARACTERS", 10)
    found = list(chunks.chunks(lengths))
    assert [row for part in found for row in range(len(lengths))[part]] == list(range(len(lengths)))
    assert [part.stop - part.start for part in found] == sizes
