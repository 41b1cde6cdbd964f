"""Rows are read as a stream, in order, and what cannot be read is named."""

from __future__ import annotations

import io
import itertools
import json
import re
from pathlib import Path

import pytest

from trimformer.encoder.model.heads import Kind
from trimformer.errors import TrimformerError
from trimformer.inference.batches import Row
from trimformer.inference.predict import rows as module
from trimformer.inference.predict.rows import Format, Piece, format_of, split


def read(name: str, content: str, *columns: str, kind: Kind = "classification") -> list[Row]:
    form = format_of(name, kind, *columns)
    return read_as(form, content)


def looked_into(path: Path, content: str | bytes, *columns: str) -> Format:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return format_of(path.name, "classification", *columns, source=path)


def read_as(form: Format, content: str) -> list[Row]:
    return [row for piece in split(io.BytesIO(content.encode()), form.ending) for row in form.read(piece)]


@pytest.mark.parametrize(
    ("name", "content", "columns", "rows"),
    [
        ("a.txt", "one\n\n two \n", (), ["one", "", " two "]),
        ("a.txt", "one\r\ntwo", (), ["one", "two"]),
        ("a.txt", "", (), []),
        ("a.txt", "\ufeffone\u2028and\ftwo\n", (), ["one\u2028and\ftwo"]),
        ("a.csv", "\ufeff\n\ntext\n\none\n", (), ["one"]),
        ("a.tsv", "text\n", (), []),
        ("a.csv", "text,y\none,1\n", (), ["one"]),
        ("A.CSV", 'y,q\r\n1,"a, ""b""\nc"\r\n\r\n2,d\r\n', ("q",), ['a, "b"\nc', "d"]),
        ("a.tsv", 'q\ta\n"one\ttwo\n', ("q", "a"), [('"one', "two")]),
        ("a.jsonl", '{"text": "one"}\n\n{"text": 2}\n', (), ["one", "2"]),
        ("a.ndjson", '{"text": "one"}\n', (), ["one"]),
        ("a.jsonl", '{"q": "one", "a": "two"}', ("q", "a"), [("one", "two")]),
        ("standard input", "one,two\n", (), ["one,two"]),
    ],
)
def test_rows(name: str, content: str, columns: tuple[str, ...], rows: list[Row]) -> None:
    assert read(name, content, *columns) == rows


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        (
            "a.csv",
            "review,y\none,1\n",
            ("reveiw",),
            "In a.csv, line 2 there is no column 'reveiw': name one of its own (review, y)",
        ),
        (
            "a.jsonl",
            '{"text": "x"}\n\n{"txt": "x"}\n',
            (),
            "In a.jsonl, line 3 there is no column 'text': name one of its own (txt)",
        ),
        ("a.jsonl", '{"text": "x"}\n{"text"\n', (), "Line 2 of a.jsonl is not valid JSON"),
        ("a.jsonl", "[1]\n", (), "Line 1 of a.jsonl is not a JSON object"),
        ("a.jsonl", '{"text": "\\ud800"}\n', (), "In a.jsonl, line 1 the text holds half of a surrogate pair"),
        ("a.jsonl", '{"text": null}\n', (), "In a.jsonl, line 1 the column 'text' is empty"),
        ("a.csv", 'text,y\n"a\nb",1\nc\n', (), "Line 4 of a.csv has 1 columns where 2 are expected"),
        ("a.csv", "text,y\na, b,1\n", (), "Line 2 of a.csv has 3 columns where 2 are expected"),
        ("a.csv", 'text\na\n"open\n', (), "Line 3 of a.csv is not valid CSV"),
        ("a.csv", 'text\nplain "quote\n"a\nb"\n"open\n', (), "Line 5 of a.csv is not valid CSV"),
        ("a.csv", "text,y,text\na,1,b\n", ("text",), "a.csv names the column 'text' twice: rename one of them."),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": 1, "text": 2}\n',
            (),
            "Line 2 of a.jsonl is not valid JSON (the name 'text' stands twice in one object: line 1 column 13",
        ),
        (
            "a.json",
            '[{"text": "a"},\n{"text": 1, "text": 2}]\n',
            (),
            "The array in a.json is not valid JSON after line 1 (the name 'text' stands twice in one object)",
        ),
        ("a.tsv", "text\ty\na\n", (), "Line 2 of a.tsv has 1 columns where 2 are expected"),
        ("a.parquet", "", (), "a.parquet cannot be read as a stream"),
        ("standard input", "one\n", ("review",), "leave --text and --text-pair out"),
    ],
)
def test_mistakes_are_named(name: str, content: str, columns: tuple[str, ...], message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        read(name, content, *columns)


@pytest.mark.parametrize(
    ("name", "content", "columns", "rows"),
    [
        ("a.txt", "a  fine film\n\n", (), ["a  fine film", ""]),
        ("a.jsonl", '{"tokens": ["a b", "c"]}\n{"tokens": []}\n', (), [["a b", "c"], []]),
        ("a.tsv", "s\na  fine film\n", ("s",), [["a", "fine", "film"]]),
    ],
)
def test_rows_of_words(name: str, content: str, columns: tuple[str, ...], rows: list[Row]) -> None:
    assert read(name, content, *columns, kind="tokens") == rows


def test_cells_may_be_long() -> None:
    assert read("a.csv", f"text\n{'x' * 200_000}\n") == ["x" * 200_000]


def test_rows_of_questions() -> None:
    content = '{"question": "who?", "context": "a b", "q": "why?"}\n'
    assert read("a.jsonl", content, kind="spans") == [("who?", "a b")]
    assert read("a.jsonl", content, "q", kind="spans") == [("why?", "a b")]


def test_mistakes_in_words_and_questions() -> None:
    with pytest.raises(TrimformerError, match=r"In a\.jsonl, line 2 the column 'tokens' holds no list of words"):
        read("a.jsonl", '{"tokens": ["a"]}\n{"tokens": ["a", 1]}\n', kind="tokens")
    with pytest.raises(TrimformerError, match=r"a\.txt has no columns for question and context"):
        read("a.txt", "a\n", kind="spans")
    with pytest.raises(TrimformerError, match="--text-pair has no meaning"):
        read("a.jsonl", "", "tokens", "b", kind="tokens")


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("", "one\n\nthree\nfour\nfive\nsix"),
        (".jsonl", '{"text": "a"}\n\n{"text": "b"}\n{"text": "c"}\n'),
        (".csv", '\nid,text\n1,"a\n\nb"\n2,"c ""d\n\n\n"\n3,e"f\n\n4,"g, h"\n5,i\n'),
        (".tsv", 'text\ty\n"a\t1\nb"\t2\nc\t3\n'),
    ],
)
def test_pieces_are_whole_rows_wherever_one_goes_on(ending: str, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = format_of("a" + (ending or ".txt"), "classification")
    (whole,) = split(io.BytesIO(content.encode()), ending)
    monkeypatch.setattr(module, "PIECE_LINES", 2)
    pieces = list(split(io.BytesIO(content.encode()), ending))
    assert len(pieces) > 1
    assert [row for piece in pieces for row in form.read(piece)] == list(form.read(whole))
    assert pieces[-1].place.end == len(content)
    for before, after in itertools.pairwise(pieces):
        place = before.place
        assert (place.end, place.next_line) == (after.start, after.line)
        assert next(split(io.BytesIO(content.encode()), ending, place.end, place.next_line)) == after


def test_pieces_of_long_lines_are_small() -> None:
    pieces = list(split(io.BytesIO(b"x" * 100_000 + b"\n" + b"y" * 200_000 + b"\nz\n"), ""))
    assert [len(piece.data) for piece in pieces] == [300_002, 2]


def test_reading_is_lazy() -> None:
    source = io.BytesIO(b"x\n" * 10_000)
    next(split(source, ""))
    assert source.tell() == 2 * module.PIECE_LINES


def test_a_mistake_is_named_by_its_line_in_the_file() -> None:
    with pytest.raises(TrimformerError, match=r"a\.txt is not UTF-8 at line 12"):
        list(format_of("a.txt", "classification").read(Piece(b"a\nb\ncaf\xe9\n", 10, 99)))
    rows = format_of("a.jsonl", "classification").read(Piece(b'{"text": "one"}\nbroken\n', 7, 99))
    assert next(rows) == "one"
    with pytest.raises(TrimformerError, match=r"Line 8 of a\.jsonl is not valid JSON"):
        next(rows)


ARRAY = [
    '{"text": "one, \\"[two"}',
    '{"y": [1, {"z": "]"}],\n "text": "é\\\\"}',
    '{"text": "three"}',
    '{"text": "four"}',
]
ROWS = ['one, "[two', "é\\", "three", "four"]


@pytest.mark.parametrize("divider", [",", ",\n", " , "])
def test_an_array_is_read_as_a_stream(tmp_path: Path, divider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = f" [{divider.join(ARRAY)} ]\n"
    form = looked_into(tmp_path / "a.json", content)
    assert read_as(form, content) == ROWS
    monkeypatch.setattr(module, "PIECE_LINES", 2)
    for chunk in (1, 2, 7):  # wherever the stream is cut
        monkeypatch.setattr("trimformer.inference.predict.array.CHUNK", chunk)
        pieces = list(split(io.BytesIO(content.encode()), ".json"))
        assert [row for piece in pieces for row in form.read(piece)] == ROWS
        first = pieces[0].place
        (rest,) = split(io.BytesIO(content.encode()), ".json", first.end, first.next_line)
        assert list(form.read(rest)) == ROWS[2:]
    assert list(split(io.BytesIO(content.encode()), ".json", len(content.encode()), 9)) == []


def test_json_that_is_no_array_is_lines(tmp_path: Path) -> None:
    content = '{"text": "one"}\n{"text": "two"}\n'
    assert read_as(looked_into(tmp_path / "a.json", content), content) == ["one", "two"]
    assert read_as(looked_into(tmp_path / "a.json", "[]"), "[]") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"},\n1]', "Line 2 of a.json is not a JSON object"),
        ('[{"text": "a"},\n{"text" "b"}]', "The array in a.json is not valid JSON after line 1 (Expecting ':'"),
        ('[{"text": "a"} {"text": "b"}]', "Expecting ',' or the end of the array"),
        ('[{"text": "a"}] []', "Expecting ',' or the end of the array"),
        ('[{"text": "a"},', "The input ends inside its JSON array"),
        ('[{"text": "a', "The input ends inside its JSON array"),
        (json.dumps([{"text": "x" * 3 * 2**20}]), "an element of more than 1 MiB"),
    ],
)
def test_mistakes_in_an_array(tmp_path: Path, content: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_BYTES", 2**20)
    form = looked_into(tmp_path / "a.json", content)
    with pytest.raises(TrimformerError, match=re.escape(message)):
        read_as(form, content)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('text\ty\n"a ""good"" film"\t1\n"one\ntwo"\t0\n"a\tb"\t1\n', ['a "good" film', "one\ntwo", "a\tb"]),
        ('text\ty\n"No" is a word\t1\n5" wide\t0\n', ['"No" is a word', '5" wide']),
        ('text\ty\n"A whole sentence."\t1\n', ['"A whole sentence."']),
    ],
)
def test_quotes_of_tsv(tmp_path: Path, content: str, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    form = looked_into(tmp_path / "a.tsv", content)
    assert bool(form.note) == ("sentence" in content)
    assert read_as(form, content) == rows
    monkeypatch.setattr(module, "PIECE_LINES", 1)
    assert read_as(form, content) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text;y\na;1\n", "The columns of a.csv are divided by semicolons (text;y): save it with commas."),
        ("a.csv", "text\ty\na\t1\n", "The columns of a.csv are divided by tabs (text\\ty): call it .tsv."),
        (
            "a.jsonl",
            '{"text": {"0": "a"}}',
            "correct this row, or write an array with an object of columns for each row",
        ),
        ("a.jsonl", '[{"text": "a"}]\n', "correct this line (of an array the file ends in .json)"),
        ("a.jsonl", '[\n{"text": "a"}\n]\n', "correct this line (of an array the file ends in .json)"),
        ("a.csv", "text,y\ra,1\rb,0\r", "end with a bare \\r: write \\n for each"),
        ("a.csv", "text,y\ra,1\nb,0\n", "Line 1 of a.csv is not valid CSV (new-line character seen"),
        ("a.tsv", "text\ty\ra\t1\r", "end with a bare \\r"),
        ("a.txt", "one\rtwo\r", "end with a bare \\r"),
        ("a.jsonl", '{"text": "a"}\r{"text": "b"}', "end with a bare \\r"),
        ("a.csv", 'te"xt,"y\na,1\n', "Line 1 of a.csv is not valid CSV"),
    ],
)
def test_the_remedy_is_the_right_one(name: str, content: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        read(name, content)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.json", "a.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_named(tmp_path: Path, name: str, encoding: str) -> None:
    raw = "text\ty\n写\t1\nplain words\t0\n".encode(encoding)
    form = looked_into(tmp_path / name, raw)
    with pytest.raises(TrimformerError, match=f"{name} is UTF-16: save it as UTF-8"):
        [row for piece in split(io.BytesIO(raw), form.ending) for row in form.read(piece)]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_line_without_end_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_BYTES", 2**20)
    with pytest.raises(TrimformerError, match="a line of more than 1 MiB"):
        read(name, "x" * (2**20 + 1))
