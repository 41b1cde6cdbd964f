"""A run that splits a model: trained, exported in halves, timed, reported; and read with passages that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.tinymodel import texts, words_tokenizer, write_stock_bert
from trimformer import load
from trimformer.inference.passages.encode import encode_passages
from trimformer.inference.predictor import Predictor
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse

TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}


def test_a_run_leaves_a_model_that_reads_kept_passages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stock_bert(tmp_path / "bert", layers=3)
    PreTrainedTokenizerFast(
        tokenizer_object=words_tokenizer().backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(tmp_path / "bert")  # fmt: skip
    rows = [f"the film,{text},{'pos' if good else 'neg'}" for text, good in texts(60)]
    (tmp_path / "data.csv").write_text("\n".join(["asked,review,stars", *rows]) + "\n")
    content = {
        "model": "bert",
        "task": {"data": "data.csv", "text": "asked", "text_pair": "review", "label": "stars"},
        "out": "out",
        "dense": TRAINING,
        "stages": [
            {
                "name": "split",
                "start": "dense",
                "method": {"name": "deformer"},
                "objective": {"task": 0.7, "logits": 1.1, "temperature": 1.0, "hidden": 0.5},
                "training": TRAINING,
            }
        ],
        "measure": {"batch": [1], "length": [8], "backends": ["torch", "onnx"]},
    }
    report = run(parse(content, "x"))
    assert load("out/model").config.split_layers == 2
    assert any("the first 2 layers see each text of a pair by itself" in note for note in report.notes)
    assert any("where what it makes of the second text is kept" in note for note in report.notes)
    assert sorted(file.name for file in (tmp_path / "out/onnx").glob("*.lower*")) == [
        "model.lower.int8.onnx",
        "model.lower.onnx",
    ]
    passages = [text for text, _ in texts(8)]
    encode_passages("out/model", passages, "kept", precision="fp32")
    asked = ["the film"] * 8
    expected = Predictor("out/model", "torch").predict(asked, passages)
    for backend in ("torch", "onnx"):
        found = Predictor("out/model", backend, passages="kept").predict(asked, list(map(str, range(8))))
        for one, other in zip(found, expected, strict=True):
            assert one.label == other.label
            assert one.scores == pytest.approx(other.scores, abs=1e-5)
