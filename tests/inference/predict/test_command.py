"""The command on files: order, workers, mistakes, output that is whole or can be gone on with."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import Result, sentence, trimformer
from tests.tinymodel import write_stock_bert
from trimformer.inference.predict import command, meter, rows
from trimformer.inference.predict.labeller import Labeller
from trimformer.inference.predictor import Predictor


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stock_bert(tmp_path_factory.mktemp("models") / "reviews", ["pos", "neg"])


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PIECE_LINES", 4)


def write_texts(path: Path, count: int = 30) -> Path:
    path.write_text("".join("good " * (i * 7 % 11) + "bad " * (i % 5) + "\n" for i in range(count)))
    return path


def test_quotes_that_are_not_clear_are_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\ty\n"good bad"\t1\n')
    result = trimformer("predict", model, tmp_path / "a.tsv")
    assert (result.code, len(result.out.splitlines())) == (0, 1)
    assert result.err.startswith(f"Note: quotes around whole cells of {tmp_path / 'a.tsv'} were kept as letters")


def test_arrays_and_quoted_tables_are_read(model: Path, tmp_path: Path) -> None:
    plain = trimformer("predict", model, "--json", stdin="good good\nbad\n").out
    (tmp_path / "a.json").write_text('[{"text": "good good"}, {"text": "bad"}]')
    (tmp_path / "a.tsv").write_text('"text"\t"y"\n"good good"\t"1"\n"bad"\t"0"\n')
    for name in ("a.json", "a.tsv"):
        result = trimformer("predict", model, "--json", tmp_path / name, "--out", tmp_path / f"{name}.out")
        assert (result.code, result.err) == (0, "")
        assert (tmp_path / f"{name}.out").read_text() == plain


def test_a_table_without_rows_and_a_folder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,y\n")
    assert trimformer("predict", model, tmp_path / "a.csv") == Result(0, "", "")
    (tmp_path / "a.csv").write_text('text,y\n"open')
    assert "Line 2 of" in sentence(trimformer("predict", model, tmp_path / "a.csv"))
    assert sentence(trimformer("predict", model, tmp_path)) == f"{tmp_path} is a folder: name a file in it."


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
    assert f"Line 2 of {tmp_path / 'a.jsonl'} is not valid JSON" in sentence(result)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_other_mistakes(model: Path, tmp_path: Path) -> None:
    assert "There is no file" in sentence(trimformer("predict", model, tmp_path / "no.csv"))
    assert "Unknown backend 'onx'" in sentence(trimformer("predict", model, "--backend", "onx"))
    body = write_stock_bert(tmp_path / "body")
    assert "has no task head" in sentence(trimformer("predict", body, stdin="good\n"))


@pytest.mark.slow
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
from trimformer.inference.predict import output, rows
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

    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".lock"}
    refused = sentence(trimformer(*arguments))
    assert f"An unfinished output is in {partial}: go on with the same command and --resume" in refused
    other = sentence(trimformer("predict", model, texts, "--batch-size", 3, "--out", out, "--resume"))
    assert "begun with another batch size and form of output" in other
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    assert trimformer(*arguments, "--resume").code == 0
    assert out.read_text() == whole
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "out.jsonl"}
    assert "There is no unfinished output" in sentence(trimformer(*arguments, "--resume", "--force"))


@pytest.mark.parametrize("begun", ["lines", "progress"])
def test_killed_before_its_first_piece_and_resumed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out.txt"
    with monkeypatch.context() as patch:
        patch.setattr(Labeller, "__init__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        killed = multiprocessing.get_context("fork").Process(
            target=trimformer, args=("predict", model, texts, "--out", out)
        )
        killed.start()
        killed.join()
    assert killed.exitcode == -9
    partial = tmp_path / "out.txt.partial"
    assert partial.read_bytes() == b""
    assert "An unfinished output is in" in sentence(trimformer("predict", model, texts, "--out", out))
    if begun == "progress":  # killed before the file for the lines was made
        partial.unlink()
    resumed = trimformer("predict", model, texts, "--out", out, "--resume")
    assert (resumed.code, resumed.err) == (0, "")
    assert out.read_text() == trimformer("predict", model, texts).out
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "out.txt"}


def test_stopped_before_its_first_piece_and_resumed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out.txt"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Labeller, "__init__", stop)
        stopped = trimformer("predict", model, texts, "--out", out)
    assert (stopped.code, stopped.err) == (130, "Stopped. Go on with the same command and --resume.\n")
    assert trimformer("predict", model, texts, "--out", out, "--resume").code == 0
    assert len(out.read_text().splitlines()) == 30


@pytest.mark.parametrize("second", ["file", "stdin"])
@pytest.mark.parametrize("first", ["file", "stdin"])
def test_two_cannot_write_one_output(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    """The second one comes while the first one works; only the first one's lines are in the end there."""
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out.txt"
    whole = trimformer("predict", model, texts).out
    label, refused = Labeller.__call__, []

    def predict(source: str, *options: str) -> Result:
        if source == "file":
            return trimformer("predict", model, texts, "--out", out, *options)
        return trimformer("predict", model, "--out", out, *options, stdin=texts.read_bytes())

    def interrupted(self: Labeller, piece: rows.Piece) -> object:
        if not refused:
            refused.append(sentence(predict(second, "--force")))
            refused.extend(sentence(predict(second, "--resume")) for _ in range(second == "file"))
        return label(self, piece)

    monkeypatch.setattr(Labeller, "__call__", interrupted)
    assert predict(first).code == 0
    lock = tmp_path / ".out.txt.lock"
    assert set(refused) == {
        f"Another process (id {os.getpid()}) is running and holds {lock}: wait until it has ended, or stop it."
    }
    assert out.read_text() == whole
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "out.txt"}


def test_the_input_is_never_the_output(model: Path, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "a.txt")
    (tmp_path / "link.txt").symlink_to(texts)
    before = texts.read_bytes()
    for source, out in (("a.txt", "a.txt"), ("a.txt", "link.txt"), ("link.txt", "a.txt")):
        for options in ([], ["--force"], ["--resume", "--force"]):
            refused = sentence(trimformer("predict", model, tmp_path / source, "--out", tmp_path / out, *options))
            assert refused == f"{tmp_path / out} is an input, and writing it would destroy that: name another file."
    stdin = os.dup(0)
    with texts.open("rb") as file:
        os.dup2(file.fileno(), 0)
        try:
            refused = sentence(trimformer("predict", model, "--out", texts, "--force", stdin="good\n"))
        finally:
            os.dup2(stdin, 0)
            os.close(stdin)
    assert "is an input" in refused
    assert texts.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "link.txt"]


def test_what_is_there_is_replaced_only_by_force(model: Path, tmp_path: Path) -> None:
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out.txt"
    out.write_text("precious\n")
    config = (model / "config.json").read_bytes()
    refused = sentence(trimformer("predict", model, texts, "--out", out))
    assert refused == f"{out} exists: name another file, or replace it with --force."
    assert "exists" in sentence(trimformer("predict", model, "--out", out, stdin="good\n"))
    for options in ([], ["--force"]):
        own = (model / "config.json", *options)
        refused = sentence(trimformer("predict", model, texts, "--out", *own))
        assert refused == f"{own[0]} is one of the files of a model, which it would destroy: name another file."
        assert "of a model" in sentence(trimformer("predict", model, "--out", *own, stdin="good\n"))
    assert "is not a regular file" in sentence(trimformer("predict", model, texts, "--out", tmp_path, "--force"))
    assert (out.read_text(), (model / "config.json").read_bytes()) == ("precious\n", config)
    assert trimformer("predict", model, texts, "--out", out, "--force").code == 0
    assert len(out.read_text().splitlines()) == 30
    assert trimformer("predict", model, "--out", out, "--force", stdin="good\n").code == 0
    assert len(out.read_text().splitlines()) == 1


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_what_comes_there_meanwhile_stays(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out.txt"
    label = Labeller.__call__

    def late(self: Labeller, piece: rows.Piece) -> object:
        out.write_text("precious\n")
        return label(self, piece)

    monkeypatch.setattr(Labeller, "__call__", late)
    arguments = [texts, "--out", out] if source == "file" else ["--out", out]
    refused = sentence(trimformer("predict", model, *arguments, stdin="good\n"))
    assert refused == f"{out} exists: name another file, or replace it with --force."
    assert out.read_text() == "precious\n"
    if source == "file":
        assert trimformer("predict", model, *arguments, "--resume", "--force").code == 0
        assert len(out.read_text().splitlines()) == 30


def test_files_with_the_names_of_an_unfinished_output_stay(model: Path, tmp_path: Path) -> None:
    texts, out = write_texts(tmp_path / "a.txt"), tmp_path / "out.txt"
    partial, state = tmp_path / "out.txt.partial", tmp_path / "out.txt.partial.json"

    def refused(*options: str) -> str:
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        said = sentence(trimformer("predict", model, texts, "--out", out, *options))
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        return said

    partial.write_text("precious\n")
    assert refused() == f"{partial} is in the way: rename it, because {out} is first written there."
    assert "There is no unfinished output" in refused("--resume")
    partial.unlink()
    for content in ("precious\n", "[1]", '{"settings": {}, "progress": {"rows": "5"}}', "\xff"):
        state.write_bytes(content.encode("latin-1"))
        for options in ([], ["--resume"], ["--force"]):
            assert f"{state} does not say how far an unfinished output is: rename it" in refused(*options)


def test_a_pipe_gets_the_lines_and_stays_one(model: Path, tmp_path: Path) -> None:
    texts, pipe = write_texts(tmp_path / "a.txt"), tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    whole = trimformer("predict", model, texts).out
    assert trimformer("predict", model, texts, "--out", pipe).code == 0
    assert os.read(reader, 9999).decode() == whole
    assert trimformer("predict", model, "--out", pipe, stdin=texts.read_bytes()).code == 0
    assert os.read(reader, 9999).decode() == whole
    os.close(reader)
    assert "can be resumed" in sentence(trimformer("predict", model, texts, "--out", pipe, "--resume"))
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "pipe"]


def test_of_a_link_the_file_is_written_that_it_leads_to(model: Path, tmp_path: Path) -> None:
    texts, link = write_texts(tmp_path / "a.txt"), tmp_path / "link.txt"
    (tmp_path / "disk").mkdir()
    link.symlink_to("disk/out.txt")
    assert trimformer("predict", model, texts, "--out", link).code == 0
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["out.txt"]
    assert len(link.read_text().splitlines()) == 30
    assert "out.txt exists" in sentence(trimformer("predict", model, texts, "--out", link))


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
