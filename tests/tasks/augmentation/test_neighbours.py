"""Candidates by nearness, from a word table and from files."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.augmentation.readers import reader
from trimformer import TrimformerError
from trimformer.tasks.augmentation.candidates import propose_in_turn
from trimformer.tasks.augmentation.glove import Glove, read_vectors, vectors_digest
from trimformer.tasks.augmentation.neighbours import Neighbours
from trimformer.tasks.augmentation.word_table import WordTable, whole_words
from trimformer.tasks.augmentation.words import Words


def test_the_nearest_words_come_first_and_none_is_the_word_itself():
    table = Neighbours(["a", "A", "b", "c", "d"], np.array([[1, 0], [2, 0], [1, 0.1], [1, 1], [-1, 0]]))
    assert table.nearest({0, 2}, 2) == {0: ["b", "c"], 2: ["a", "A"]}
    assert table.nearest({3}, 9) == {3: ["b", "a", "A", "d"]}


def test_the_word_table_knows_whole_words_and_no_pieces():
    assert list(whole_words(reader())) == [
        "film",
        "movie",
        "picture",
        "good",
        "fine",
        "bad",
        "dull",
        "the",
        "was",
        "not",
    ]
    texts = [Words("the Film was unknown"), Words("dull")]
    found = WordTable(reader()).propose(texts, [[1, 3], [0]], 2)
    assert found == [{1: ["Movie", "Picture"]}, {0: ["bad", "the"]}]


def test_the_first_source_that_knows_a_word_gives_its_candidates(tmp_path: Path):
    file = tmp_path / "v.txt"
    file.write_text("film 1 0\nreel 1 0.1\nwhale 0 1\n")
    sources = [Glove(file), WordTable(reader())]
    (found,) = propose_in_turn(sources, [Words("a film was good , whatsit")], 1)
    assert found == {1: ("glove", ["reel"]), 3: ("word-table", ["fine"])}


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
def test_word_vectors_are_read(tmp_path: Path, name: str):
    content = b"3 2\nfilm 1 0.5\n. . . 2 2\n'n 1 1\nfilm 9 9\n\nreel -1 1e-1\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    words, vectors = read_vectors(tmp_path / name)
    assert words == ["film", "reel"]
    np.testing.assert_allclose(vectors, [[1, 0.5], [-1, 0.1]])
    before = vectors_digest(tmp_path / name)
    content += b"b 1 1\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert vectors_digest(tmp_path / name) != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"film 1 0\nreel 1\n", "Line 2 of the word vectors .*v.txt is not a word and 2 numbers, as the first one is"),
        (b"film 1 0\nplot 0 1\nreel 1 0 3\n", "Line 3 of"),
        (b"film 1 0\nreel 1 x\n", "Line 2 of"),
        (b"film 1 0\nreel 1 nan\n", "Line 2 of"),
        (b"film\n", "Line 1 of"),
        (b"film 1 0\n\xff 1 0\n", "Line 2 of the word vectors .*v.txt is not UTF-8"),
        (b"", "have no word"),
        (b", 1 0\n", "have no word"),
    ],
)
def test_ragged_and_other_bad_word_vectors_are_refused_with_the_line(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(TrimformerError, match=said):
        read_vectors(tmp_path / "v.txt")


def test_word_vectors_that_cannot_be_read_are_refused(tmp_path: Path):
    (tmp_path / "v.gz").write_bytes(b"no gzip")
    for name in ("v.gz", "none.txt"):
        with pytest.raises(TrimformerError, match=f"The word vectors .*{name} cannot be read"):
            read_vectors(tmp_path / name)


def test_real_word_vectors(shared_data: Path):
    (file,) = (shared_data / "glove_twitter_25d_12k").glob("*.txt*")
    table = Glove(file)
    assert len(table.words) > 11_000
    assert table.vectors.shape[1] == 25
    assert "terrible" in table.nearest({table.rows["horrible"]}, 5)[table.rows["horrible"]]
