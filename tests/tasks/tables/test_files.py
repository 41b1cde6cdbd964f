import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.tables.files import cell_text, read_table, read_tsv

Write = Callable[[str, str], Path]


def test_csv_quotes_and_line_numbers(write: Write) -> None:
    table = read_table(write("a.csv", '\ufefftext,label\r\n"one, ""two""\nthree",1\r\n\r\nfour,0\r\n'))
    assert table.names == ["text", "label"]
    assert table.column("text") == ['one, "two"\nthree', "four"]
    assert table.lines == [2, 5]


def test_tsv_has_no_quoting_and_breaks_at_line_feeds_only(write: Write) -> None:
    table = read_table(write("a.tsv", 'text\tlabel\n"open\t1\nform\x0cfeed \u2028 here\t0\n'))
    assert table.column("text") == ['"open', "form\x0cfeed \u2028 here"]
    assert table.where(1) == f"line 3 of {table.path}"


def test_long_fields_and_endings_in_capitals(tmp_path: Path, write: Write) -> None:
    rows = f"text,label\n{'x' * 200_000},1\n"
    assert len(str(read_table(write("a.csv", rows)).column("text")[0])) == 200_000
    (tmp_path / "A.CSV.GZ").write_bytes(gzip.compress(rows.encode()))
    assert read_table(tmp_path / "A.CSV.GZ").lines == [2]


def test_gzip_and_jsonl_with_absent_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a", "label": 1}\n\n{"text": "b", "label": 2, "more": null}\n'))
    table = read_table(path)
    assert table.names == ["text", "label", "more"]
    assert table.column("more") == [None, None]
    assert table.lines == [1, 3]


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1, 0]}), path)
    table = read_table(path)
    assert table.column("label") == [1, 0]
    assert table.where(1) == f"row 2 of {path}"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "a.csv has no rows"),
        ("a.csv", "text,label\n", "a.csv has no rows"),
        ("a.jsonl", "\n", "a.jsonl has no rows"),
        ("a.csv", "text,label\na,1\nb,c,0\n", "The row in line 3 of …a.csv has 3 columns where 2 are expected"),
        ("a.tsv", "text\tlabel\na\n", "The row in line 2 of …a.tsv has 1 columns where 2 are expected"),
        ("a.csv", 'text,label\n"a"b,1\n', "The row in line 2 of …a.csv is not valid CSV"),
        ("a.csv", 'text,label\na,1\n"open,1\nb,0\n', "The row in line 3 of …a.csv is not valid CSV"),
        ("a.csv", "text,text\na,1\n", "a.csv names a column twice"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "Line 2 of …a.jsonl is not valid JSON"),
        (
            "a.jsonl",
            '{"a": 1}\n{"a": 1, "b": 2, "a": 3}\n',
            "Line 2 of …a.jsonl is not valid JSON (the name 'a' stands twice",
        ),
        ("a.jsonl", '{"a": {"b": 1, "b": 2}}\n', "Line 1 of …a.jsonl is not valid JSON (the name 'b' stands twice"),
        (
            "a.json",
            '[{"a": "a", "b": [{"a": 1}]},\n {"\\"{": "a", "b": "a",\n "\\u0061": 1, "a": 3}]',
            "a.json is not valid JSON (the name 'a' stands twice in one object: line 3 column 15 (char",
        ),
        ("a.jsonl", "[1]\n", "Line 1 of …a.jsonl is not a JSON object"),
        (
            "a.jsonl",
            '{"a": "\\ud83d\\ude00 \\\\ud800"}\n{"a": ["\\uD800"]}\n',
            "line 2 of …a.jsonl, half of a surrogate",
        ),
        ("a.parquet", "nonsense", "a.parquet is not readable as Parquet"),
        ("a.xlsx", "x", "a.xlsx has an unknown ending: use one of .csv"),
        ("a.csv.gz", "text", "a.csv.gz cannot be read"),
    ],
)
def test_broken_files(write: Write, name: str, text: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        read_table(write(name, text))


def test_missing_file_suggests_its_neighbour(write: Write) -> None:
    path = write("reviews.csv", "text,label\na,1\n")
    with pytest.raises(TrimformerError, match=r"reviws\.csv is not a file: correct it\. Did you mean 'reviews\.csv'"):
        read_table(path.with_name("reviws.csv"))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_not_utf8_names_line_and_offset(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(mark + b"text,label\nna\xefve,1\n")
    offset = len(mark) + 13
    message = f"a.csv is not UTF-8 at line 2 (byte 0xef at offset {offset}): save it as UTF-8"
    with pytest.raises(TrimformerError, match=like(message)):
        read_table(path)


def test_what_is_no_file_of_texts(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.tasks.tables.files.LONGEST_LINE", 9)
    with pytest.raises(TrimformerError, match=r"is binary \(a zero in line 2\): name a file of texts\.$"):
        read_table(write("a.txt", "one\n" + "tw\0o" * 20))
    with pytest.raises(TrimformerError, match=r"Line 2 of .* million characters, and each line is one text"):
        read_table(write("b.txt", "one\nten letters\n"))
    assert len(read_table(write("c.txt", "one\n9 letters\n")).rows) == 2


def test_missing_column_lists_and_suggests(write: Write) -> None:
    table = read_table(write("a.csv", "text,label\na,1\n"))
    with pytest.raises(TrimformerError, match=r"no column 'txet': .*\(text, label\)\. Did you mean 'text'\?"):
        table.column("txet")


def test_tsv_without_header_and_dropped_rows(write: Write) -> None:
    table = read_tsv(write("a.tsv", "a\t1\nbroken\nb\t0\n"), names=["text", "label"], drop_ragged=True)
    assert table.column("text") == ["a", "b"]
    assert (table.dropped, table.lines) == (1, [1, 3])


def test_cell_text() -> None:
    cells = ["a", True, 3, 3.0, 0.5, float("nan"), None, ["a"]]
    assert [cell_text(cell) for cell in cells] == ["a", "true", "3", "3", "0.5", None, None, None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\na,1\n".encode("utf-16"), "a.csv is UTF-16: save it as UTF-8, for example with iconv"),
        ("a.jsonl", b'[{"text": "a"}]', "one {...} with the columns per line (jq -c '.[]' does it for an array)"),
        ("a.jsonl", b'[\n{"text": "a"}\n]', "correct this line (jq -c '.[]' does it for an array)"),
        ("a.csv", b"text;label\na;1\n", "divided by semicolons (text;label): save it with commas"),
        ("a.csv", b"text|label\na|1\n", "divided by bars (text|label): save it with commas"),
        ("a.csv", b"text\tlabel\na\t1\n", "divided by tabs (text\\tlabel): call it .tsv"),
        (
            "a.json",
            b'{"text": {"0": "a"}}',
            "is one JSON object: write an array with an object of columns for each row",
        ),
    ],
)
def test_the_remedy_is_the_right_one(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrimformerError, match=like(message)):
        read_table(tmp_path / name)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match="is a folder: name a file in it"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('text\tlabel\n"a ""good"" film"\t1\nb\t0\n', ['a "good" film', "b"]),
        ('text\tlabel\n"a\tb"\t1\n"one\ntwo"\t0\n', ["a\tb", "one\ntwo"]),
        ('"text"\t"label"\n"a b"\t"1"\n', ["a b"]),
        ('text\tlabel\nHe said "no" twice\t1\n"No" is a word\t0\n', ['He said "no" twice', '"No" is a word']),
        ('text\tlabel\n"a ""good"" film"\t1\n12" vinyl\t0\n', ['"a ""good"" film"', '12" vinyl']),
        ('text\tlabel\n"open\t1\nclosed"\t0\n', ['"open', 'closed"']),
        ('text\tlabel\n"A whole sentence."\t1\n', ['"A whole sentence."']),
    ],
)
def test_quotes_of_tsv_are_marks_where_they_stand_as_csv_writes_them(write: Write, text: str, cells: list[str]) -> None:
    table = read_table(write("a.tsv", text))
    assert table.column("text") == cells
    assert bool(table.note) == (
        text in ('text\tlabel\n"open\t1\nclosed"\t0\n', 'text\tlabel\n"A whole sentence."\t1\n')
    )


def test_tsv_as_pandas_writes_it(tmp_path: Path) -> None:
    import pandas

    texts = ['"Good," she said', "tab\there", "line\nend", "plain", 'a "b" c', ""]
    frame = pandas.DataFrame({"text": texts, "label": [0, 1, 0, 1, 0, 1]})
    for name, options in (("a.tsv", {}), ("b.tsv.gz", {}), ("c.tsv", {"quoting": 1}), ("d.tsv", {"columns": ["text"]})):
        frame.to_csv(tmp_path / name, sep="\t", index=False, **options)
        assert read_table(tmp_path / name).column("text") == texts, name


def test_what_corpora_quote_is_a_letter(write: Write) -> None:
    text = 'text\tlabel\n"a ""good"" film"\t1\n'
    assert read_tsv(write("a.tsv", text)).column("text") == ['"a ""good"" film"']


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[{"text": "a", "label": 1},\n {"text": "b"}]'),
        ("a.json", '{"text": "a", "label": 1}\n{"text": "b"}\n'),
        ("a.ndjson", '{"text": "a", "label": 1}\n{"text": "b"}\n'),
    ],
)
def test_json_is_read_as_what_it_is(write: Write, name: str, content: str) -> None:
    table = read_table(write(name, content))
    assert (table.names, table.column("label"), table.lines) == (["text", "label"], [1, None], [1, 2])
    assert table.where(1).startswith("line" if name == "a.ndjson" else "row")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "a.json has no rows"),
        ('[{"text": "a"}, 1]', "Row 2 of …a.json is not a JSON object"),
        ('[{"text": "\\ud800"}]', "In row 1 of …a.json, half of a surrogate"),
        ('[{"text": "a"}', "a.json is not valid JSON"),
        ('{"text": {"0": "a"}}', "a.json is one JSON object: write an array"),
        ("[" * 100_000, "a.json is not valid JSON"),
    ],
)
def test_broken_json(write: Write, content: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        read_table(write("a.json", content))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_lines_that_end_with_a_bare_cr(tmp_path: Path, name: str) -> None:
    rows = {"a.csv": "text,label\ra,1\rb,0\r", "a.tsv": "text\tlabel\ra\t1\rb\t0\r"}
    content = rows.get(name, '{"text": "a"}\r{"text": "b"}\r')
    (tmp_path / name).write_bytes(content.encode())
    assert read_table(tmp_path / name).column("text") == ["a", "b"]


def test_utf_16_without_a_mark(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\na,1\n".encode("utf-16-le"))
    with pytest.raises(TrimformerError, match=r"a\.csv is UTF-16"):
        read_table(tmp_path / "a.csv")
