"""Tags and answers through the command: which columns are read, and how a line looks."""

from __future__ import annotations

import json
from pathlib import Path

from tests.command import sentence, trimformer
from tests.models import tiny
from tests.tinymodel import words_tokenizer
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads import head_class


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
