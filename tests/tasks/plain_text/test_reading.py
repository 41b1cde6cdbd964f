"""Plain text is read as a stream: lines, paragraphs, records, tables, of any length."""

import gzip
import json
import tracemalloc

import pyarrow
import pyarrow.parquet
import pytest

from trimformer import TrimformerError
from trimformer.tasks.plain_text import reading
from trimformer.tasks.plain_text.reading import texts


def read(path, unit="line", begin=0):
    return [one.text for one in texts(path, "text", unit, begin)]


def write(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "wiki.valid.tokens"])
def test_lines_and_paragraphs(tmp_path, name):
    path = write(tmp_path / name, "\ufeffone \r\n two\n\n\n three\nfour")
    assert read(path) == ["one", "two", "three", "four"]
    assert read(path, "paragraph") == ["one two", "three four"]


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_it_goes_on_from_every_place(tmp_path, unit):
    path = write(tmp_path / "a.txt", "one\ntwö\n\nthree\n\n\nfour five\nsix\n")
    whole = list(texts(path, "text", unit))
    for at, one in enumerate(whole):
        assert list(texts(path, "text", unit, one.place)) == whole[at + 1 :]


def test_records_and_tables(tmp_path):
    rows = [{"text": "one"}, {"text": " "}, {"text": "two", "x": 1}]
    lines = write(tmp_path / "a.jsonl.gz", "\n".join(map(json.dumps, rows)))
    table = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", None, "two"]}), table)
    for path in (lines, table):
        whole = list(texts(path, "text", "line"))
        assert [one.text for one in whole] == ["one", "two"]
        assert list(texts(path, "text", "line", whole[0].place)) == whole[1:]


@pytest.mark.parametrize("letter", ["x", "é"])
@pytest.mark.parametrize("ending", ["txt", "txt.gz"])
def test_a_line_longer_than_is_read_at_once_is_cut_between_words(tmp_path, monkeypatch, letter, ending):
    monkeypatch.setattr(reading, "LONGEST", 50)
    words = [letter * (1 + i % 7) for i in range(100)]
    path = write(tmp_path / f"a.{ending}", " ".join(words) + "\nend")
    found = read(path)
    assert all(len(text.encode()) <= 50 for text in found)
    assert " ".join(found).split() == [*words, "end"]
    whole = list(texts(path, "text", "line"))
    assert list(texts(path, "text", "line", whole[3].place)) == whole[4:]
    assert "".join(read(write(tmp_path / f"b.{ending}", letter * 333))) == letter * 333


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"abc\0\1\2", "is binary"),
        ("a.txt", b"fine\n" * 2000 + b"\0", "is binary"),
        ("a.txt", "ab".encode("utf-16"), "UTF-16"),
        ("a.txt", b"one\ncaf\xe9\n", "not UTF-8 at byte 7"),
        ("a.txt.gz", b"no gzip", None),
        ("a.jsonl", "{no", "no valid JSON"),
        ("a.jsonl", '{"body": "x"}', "no text in 'text' (found: body)"),
        ("a.csv", "text\nx", "is no plain text"),
        ("a.parquet", b"x", "not readable as Parquet"),
    ],
)
def test_what_is_no_plain_text(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrimformerError) as caught:
        read(path)
    assert said is None or said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_and_a_column(tmp_path):
    with pytest.raises(TrimformerError, match="is not a file of texts"):
        read(tmp_path / "a.txt")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(TrimformerError, match="has no column 'text': name one of its own \\(body\\)"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(("unit", "line"), [("line", b"word " * 2**17), ("paragraph", b"word word\n" * 2**16)])
def test_neither_a_long_line_nor_a_long_file_is_in_memory_as_a_whole(tmp_path, monkeypatch, unit, line):
    monkeypatch.setattr(reading, "LONGEST", 2**14)
    path = write(tmp_path / "a.txt.gz", line + b"\n\nend")
    tracemalloc.start()
    try:
        count = sum(one.text.count("word") for one in texts(path, "text", unit, 0))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 2**17
    assert most < 0.6 * len(line)
