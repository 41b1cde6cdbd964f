"""Rows are read as a stream, in order, and what cannot be read is named."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import sentence, trimformer
from tests.tinymodel import write_stock_bert
from trimformer.deploy.predictor import WINDOW, Predictor
from trimformer.errors import TrimformerError
from trimformer.predict import Row, read_rows


def read(name: str, content: str, *columns: str) -> list[Row]:
    return list(read_rows(io.StringIO(content, newline=""), name, *columns))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stock_bert(tmp_path_factory.mktemp("models") / "reviews", ["pos", "neg"])


@pytest.mark.parametrize(
    ("name", "content", "columns", "rows"),
    [
        ("a.txt", "one\n\n two \n", (), ["one", "", " two "]),
        ("a.txt", "one\r\ntwo", (), ["one", "two"]),
        ("a.txt", "", (), []),
        ("a.csv", "text,y\none,1\n", (), ["one"]),
        ("A.CSV", 'y,q\r\n1,"a, ""b""\nc"\r\n\r\n2,d\r\n', ("q",), ['a, "b"\nc', "d"]),
        ("a.tsv", 'q\ta\n"one\ttwo\n', ("q", "a"), [('"one', "two")]),
        ("a.jsonl", '{"text": "one"}\n\n{"text": 2}\n', (), ["one", "2"]),
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
            "a.csv, line 2: no column 'reveiw'; name one of its own (review, y)",
        ),
        (
            "a.jsonl",
            '{"text": "x"}\n\n{"txt": "x"}\n',
            (),
            "a.jsonl, line 3: no column 'text'; name one of its own (txt)",
        ),
        ("a.jsonl", '{"text": "x"}\n{"text"\n', (), "a.jsonl, line 2: not valid JSON"),
        ("a.jsonl", "[1]\n", (), "a.jsonl, line 1: not a JSON object"),
        ("a.jsonl", '{"text": null}\n', (), "a.jsonl, line 1: column 'text' is empty"),
        ("a.csv", 'text,y\n"a\nb",1\nc\n', (), "a.csv, line 4: 1 columns where 2 are expected"),
        ("a.csv", "text,y\na, b,1\n", (), "a.csv, line 2: 3 columns where 2 are expected"),
        ("a.csv", 'text\na\n"open\n', (), "a.csv, line 3: not valid CSV"),
        ("a.tsv", "text\ty\na\n", (), "a.tsv, line 2: 1 columns where 2 are expected"),
        ("a.parquet", "", (), "a.parquet cannot be read as a stream"),
        ("standard input", "one\n", ("review",), "leave --text and --text-pair out"),
    ],
)
def test_mistakes_are_named(name: str, content: str, columns: tuple[str, ...], message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        read(name, content, *columns)


def test_reading_is_lazy() -> None:
    """A broken line is no obstacle to the rows before it."""
    rows = read_rows(io.StringIO('{"text": "one"}\nbroken\n'), "a.jsonl")
    assert next(rows) == "one"
    with pytest.raises(TrimformerError, match="line 2"):
        next(rows)


def test_prediction_reads_ahead_by_one_window(model: Path) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "good " * (taken % 7)

    stream = Predictor(model, "torch").stream(endless(), batch_size=2)
    for _ in range(3 * 2 * WINDOW):
        next(stream)
    assert taken == 3 * 2 * WINDOW


def test_order_is_kept(model: Path) -> None:
    texts = ["good " * (i * 7 % 11) + "bad " * (i % 5) for i in range(40)]
    together = trimformer("predict", model, "--json", "--batch-size", 2, stdin="\n".join(texts))
    assert together.code == 0, together.err
    scores = [json.loads(line)["scores"]["pos"] for line in together.out.splitlines()]
    predictor = Predictor(model, "torch")
    assert scores == pytest.approx([predictor.predict([text])[0].scores["pos"] for text in texts], abs=1e-5)


def test_a_byte_order_mark_is_no_text(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext\ngood\n")
    assert trimformer("predict", model, tmp_path / "a.csv").code == 0
    marked, plain = (trimformer("predict", model, "--json", stdin=mark + b"good\n") for mark in (b"\xef\xbb\xbf", b""))
    assert marked.out == plain.out


def test_not_utf8(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    assert f"{tmp_path / 'a.txt'} is not UTF-8" in sentence(trimformer("predict", model, tmp_path / "a.txt"))
    assert "standard input is not UTF-8" in sentence(trimformer("predict", model, stdin=b"caf\xe9\n"))


def test_a_mistake_leaves_no_output_file(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\nbroken\n')
    result = trimformer("predict", model, tmp_path / "a.jsonl", "--out", tmp_path / "labels.txt")
    assert "a.jsonl, line 2: not valid JSON" in sentence(result)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_other_mistakes(model: Path, tmp_path: Path) -> None:
    assert "There is no file" in sentence(trimformer("predict", model, tmp_path / "no.csv"))
    assert "Unknown backend 'onx'" in sentence(trimformer("predict", model, "--backend", "onx"))
    body = write_stock_bert(tmp_path / "body")
    assert "has no task head" in sentence(trimformer("predict", body, stdin="good\n"))
