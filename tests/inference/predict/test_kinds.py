"""Tags and answers through the command: which columns are read, and how a line looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from tests.command import sentence, trimformer
from tests.models import tiny
from tests.tinymodel import words_tokenizer
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads import head_class
from trimformer.inference.predictor import Predictor


def write_model(folder: Path, kind: str, labels: list[str]) -> Path:
    config = with_labels(tiny().config, labels, kind)  # type: ignore[arg-type]
    head_class(kind)(config).save_pretrained(folder)  # type: ignore[arg-type]
    words_tokenizer().save_pretrained(folder)
    return folder


def test_tags(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "tokens", ["O", "X"])
    (tmp_path / "a.jsonl").write_text('{"tokens": ["the", "film", "was"]}\n{"tokens": []}\n')
    rows = [json.loads(line) for line in trimformer("predict", model, tmp_path / "a.jsonl", "--json").out.splitlines()]
    assert [row["tokens"] for row in rows] == [["the", "film", "was"], []]
    assert set(rows[0]["tags"]) <= {"O", "X"}
    plain = trimformer("predict", model, stdin="the  film was\n\n")
    assert plain.out == " ".join(rows[0]["tags"]) + "\n\n"


def test_answers(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "spans", [])
    context = "the film was\ngood, the plot dull " * 5
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "was the film good", "context": context}) + "\n")
    found = json.loads(trimformer("predict", model, tmp_path / "a.jsonl", "--json").out)
    assert found["answer"] == context[found["start"] : found["end"]] != ""
    assert trimformer("predict", model, tmp_path / "a.jsonl").out == " ".join(found["answer"].split()) + "\n"
    assert "no columns for question and context" in sentence(trimformer("predict", model, stdin="who\n"))


def test_vectors(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "embedding", [])
    lines = ["the film was good", "dull", "a very bad plot"] * 2000
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    wanted = Predictor(model).vectors(lines)
    assert wanted.shape == (6000, 16)
    assert trimformer("predict", model, tmp_path / "a.txt", "--out", tmp_path / "v.npy").code == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), wanted, atol=1e-5)
    assert trimformer("predict", model, "--out", tmp_path / "v.parquet", stdin="\n".join(lines) + "\n").code == 0
    column = parquet.read_table(tmp_path / "v.parquet")["vector"].to_pylist()
    np.testing.assert_allclose(np.array(column), wanted, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "model", "v.npy", "v.parquet"]
    found = json.loads(trimformer("predict", model, "--json", stdin="dull\n").out)
    np.testing.assert_allclose(found["vector"], wanted[1], atol=2e-6)
    plain = trimformer("predict", model, stdin="dull\n").out.split()
    np.testing.assert_allclose(list(map(float, plain)), wanted[1], rtol=1e-4)


def test_a_file_of_vectors_needs_a_model_that_gives_them(tmp_path: Path) -> None:
    tagger, model = write_model(tmp_path / "a", "tokens", ["O", "X"]), write_model(tmp_path / "b", "embedding", [])
    out = ["--out", tmp_path / "v.npy"]
    assert "this model answers with tokens" in sentence(trimformer("predict", tagger, *out, stdin="a\n"))
    assert "leave one of the two" in sentence(trimformer("predict", model, "--json", *out, stdin="a\n"))
    (tmp_path / "a.jsonl").write_text('{"text": "a", "other": "b"}\n')
    second = trimformer("predict", model, tmp_path / "a.jsonl", "--text-pair", "other")
    assert "no meaning for a model that gives vectors" in sentence(second)


def test_an_unfinished_file_of_vectors_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_model(tmp_path / "model", "embedding", [])
    (tmp_path / "a.txt").write_text("the film\n" * 5000)
    arguments = ["predict", model, tmp_path / "a.txt", "--out", tmp_path / "v.npy"]

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trimformer.inference.predict.output.give_form", broken)
        assert trimformer(*arguments).code == 130
    assert not (tmp_path / "v.npy").exists()
    assert trimformer(*arguments, "--resume").code == 0
    assert np.load(tmp_path / "v.npy").shape == (5000, 16)
