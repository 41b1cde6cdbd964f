"""The command on files: order, workers, mistakes, output that is whole or can be gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import sentence, trimformer
from tests.tinymodel import write_stock_bert
from trimformer.deploy.predictor import Predictor
from trimformer.predict import command, meter, rows
from trimformer.predict.labeller import Labeller


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stock_bert(tmp_path_factory.mktemp("models") / "reviews", ["pos", "neg"])


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PIECE_LINES", 4)


def write_texts(path: Path, count: int = 30) -> Path:
    path.write_text("".join("good " * (i * 7 % 11) + "bad " * (i % 5) + "\n" for i in range(count)))
    return path


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


def test_processes_write_the_same_bytes(model: Path, tmp_path: Path, small_pieces: None) -> None:
    texts = write_texts(tmp_path / "a.txt")
    alone, together = (
        trimformer("predict", model, texts, "--json", "--workers", workers, "--out", tmp_path / f"{workers}.jsonl")
        for workers in (1, 2)
    )
    assert (alone.code, together.code) == (0, 0)
    assert (tmp_path / "2.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()
    assert len((tmp_path / "1.jsonl").read_text().splitlines()) == 30


def test_the_size_decides_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "usable_cores", lambda: 16)
    assert [command.worth(size) for size in (None, 0, 1_000_000, 5_000_000, 10**10)] == [1, 1, 1, 4, 16]


KILLED = """
import os, sys
from trimformer_cli import main
from trimformer.predict import output, rows
rows.PIECE_LINES = 4
save = output.PartialFile._save
def last_words(self, progress):
    if progress.rows > 8:
        os.kill(os.getpid(), 9)  # the answers are written, but not yet counted
    save(self, progress)
output.PartialFile._save = last_words
main()
"""


def test_killed_and_resumed_equals_uninterrupted(model: Path, tmp_path: Path, small_pieces: None) -> None:
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out.jsonl"
    whole = trimformer("predict", model, texts, "--json").out
    arguments = ["predict", model, texts, "--json", "--out", out]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)])
    assert done.returncode == -9
    partial = tmp_path / "out.jsonl.partial"
    assert len(partial.read_text().splitlines()) == 12
    assert not out.exists()

    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refused = sentence(trimformer(*arguments))
    assert f"An unfinished output is in {partial}: go on with the same command and --resume" in refused
    other = sentence(trimformer("predict", model, texts, "--batch-size", 3, "--out", out, "--resume"))
    assert "begun with another batch size and form of output" in other
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    assert trimformer(*arguments, "--resume").code == 0
    assert out.read_text() == whole
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "out.jsonl"}
    assert "There is no unfinished output" in sentence(trimformer(*arguments, "--resume"))


def test_resume_needs_the_same_input_and_asks_for_a_file(
    model: Path, tmp_path: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out"
    label = Labeller.__call__

    def interrupted(self: Labeller, piece: rows.Piece) -> object:
        if piece.line > 8:
            raise KeyboardInterrupt
        return label(self, piece)

    with monkeypatch.context() as patch:
        patch.setattr(Labeller, "__call__", interrupted)
        stopped = trimformer("predict", model, texts, "--out", out)
    assert (stopped.code, stopped.err) == (130, "Stopped. Go on with the same command and --resume.\n")
    write_texts(texts, 31)
    assert "begun with another input" in sentence(trimformer("predict", model, texts, "--out", out, "--resume"))
    assert "can be resumed" in sentence(trimformer("predict", model, "--out", out, "--resume", stdin="good\n"))
    assert "can be resumed" in sentence(trimformer("predict", model, texts, "--resume"))


def test_progress_is_shown_when_it_takes_long(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = write_texts(tmp_path / "a.txt")
    assert trimformer("predict", model, texts).err == ""
    monkeypatch.setattr(meter, "PATIENCE", 0.0)
    result = trimformer("predict", model, texts)
    assert len(result.out.splitlines()) == 30
    assert "30 rows" in result.err
    assert "100%" in result.err
    assert "5 rows" in trimformer("predict", model, stdin="good\n" * 5).err
