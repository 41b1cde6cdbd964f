"""The main job on every kind of task: from the user's files to a report, a model that loads and scores again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.command import trimformer
from tests.tinymodel import BAD, FILLER, GOOD, texts, write_stock_bert
from trimformer.report.schema import Report

QUICK = ["--keep-layers", 1, "--epochs", 1, "--learning-rate", 1e-3, "--batch-size", 8]


def tokens(text: str, good: bool) -> dict[str, Any]:
    words = text.split()
    return {"tokens": words, "tags": ["B-TELL" if word in GOOD + BAD else "O" for word in words]}


def span(text: str, good: bool) -> dict[str, Any]:
    word = text.split()[-1]
    answers = {"text": [word], "answer_start": [text.index(word)]}
    return {"question": "the plot was", "context": f"{text} {FILLER[0]}", "answers": answers}


def multilabel(text: str, good: bool) -> dict[str, Any]:
    return {"text": text, "label": [name for name, holds in (("good", good), ("film", "film" in text)) if holds]}


KINDS: dict[str, tuple[Callable[[str, bool], dict[str, Any]], str, str]] = {
    "tokens": (tokens, "AutoModelForTokenClassification", "f1"),
    "spans": (span, "AutoModelForQuestionAnswering", "f1"),
    "multilabel": (multilabel, "AutoModelForSequenceClassification", "f1_micro"),
}


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *((kind, "attendout") for kind in KINDS),
        ("tokens", "attendout-faithful"),
        *(pytest.param(kind, "attendout-faithful", marks=pytest.mark.slow) for kind in ("spans", "multilabel")),
    ],
)
def test_compress_and_evaluate(kind: str, method: str, tmp_path: Path) -> None:
    row, auto_class, metric = KINDS[kind]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row(*example)) + "\n" for example in texts(60)), encoding="utf-8")
    model = write_stock_bert(tmp_path / "bert")
    out = tmp_path / "out"
    done = trimformer("compress", model, "--data", file, "--method", method, *QUICK, "--out", out, "--json")
    assert done.code == 0, done.err
    report = Report.model_validate_json(done.out)
    assert (report.task.kind, report.task.metric) == (kind, metric)
    assert len(report.removed_layers()) == 1
    assert report.task.n_train + report.task.n_selection + report.task.n_validation == 60
    assert {file.precision for file in report.export} == {"fp32", "int8"}
    assert auto_class in (out / "model" / "README.md").read_text(encoding="utf-8")

    trimmed = report.variant("trimmed")
    assert trimmed is not None
    again = trimformer("evaluate", out / "model", "--data", file, "--against", out / "dense" / "model", "--json")
    assert again.code == 0, again.err
    found = json.loads(again.out)
    assert found["scores"] == pytest.approx(trimmed.scores, abs=1e-6)
    assert found["n_examples"] == report.task.n_validation
    assert report.comparison is not None
    assert found["against"]["difference"] == pytest.approx(report.comparison.difference, abs=1e-6)

    loaded = getattr(transformers, auto_class).from_pretrained(out / "model")
    assert isinstance(loaded(torch.tensor([[2, 5, 3]]))[0], torch.Tensor)


def test_a_trained_head_of_another_kind_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(tokens(*example)) + "\n" for example in texts(60)), encoding="utf-8")
    model = write_stock_bert(tmp_path / "bert", ["B-TELL", "O"])
    done = trimformer(
        "compress", model, "--data", file, "--method", "last-k", *QUICK, "--out", tmp_path / "o", "--json"
    )
    assert done.code == 0, done.err
    assert "was made for classification, the task is tokens" in " ".join(json.loads(done.out)["notes"])


def test_a_model_of_another_kind_cannot_be_scored(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(tokens(*example)) + "\n" for example in texts(60)), encoding="utf-8")
    model = write_stock_bert(tmp_path / "bert", ["B-TELL", "O"])
    done = trimformer("evaluate", model, "--validation", file)
    assert done.code == 2
    assert "has a head for classification, but the task is tokens" in done.err


def test_a_head_for_one_label_is_not_scored_on_several(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(multilabel(*example)) + "\n" for example in texts(60)), encoding="utf-8")
    model = write_stock_bert(tmp_path / "bert", ["film", "good"])
    done = trimformer("evaluate", model, "--validation", file)
    assert done.code == 2
    assert "has a head for classification, but the task is multilabel" in done.err


def test_who_predicts_cuts_texts_as_the_run_did(tmp_path: Path) -> None:
    from trimformer import Predictor

    file = tmp_path / "rows.csv"
    lines = [f"{text} {text} {text},{good}" for text, good in texts(60)]
    file.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    model = write_stock_bert(tmp_path / "bert")
    out = tmp_path / "out"
    cut = ["--max-length", 10, "--truncation", "tail", "--method", "last-k"]
    done = trimformer("compress", model, "--data", file, *QUICK, *cut, "--out", out, "--json")
    assert done.code == 0, done.err
    for backend in ("torch", "onnx"):
        predictor = Predictor(out / "model", backend=backend)
        assert predictor.max_length == 10
        tail = "film was good very the a and music"
        short, long = predictor.predict([tail, "dull " * 20 + tail])
        assert short == long
