"""A reranker of sentence-transformers in and out: labels 0 and 1, texts alone, one logit."""

import json

import pytest
import torch
from sentence_transformers import CrossEncoder

from tests.tinymodel import BAD, GOOD, words_tokenizer, write_stock_bert
from trimformer import Predictor, evaluate, load, to_huggingface
from trimformer.encoder.checkpoints.load import read_kind
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse

TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}


@pytest.fixture
def reranker(tmp_path):
    return write_stock_bert(tmp_path / "bert", ["LABEL_0"])


def couples(path, labelled=True):
    """Ten queries with four texts each, of which those with a good word are relevant."""
    rows = []
    for i in range(40):
        good = i % 4 == 1
        text = f"the plot was {(GOOD if good else BAD)[i // 4 % 4]}"
        rows.append({"query": f"the film {i // 4}", "text": text} | ({"label": int(good)} if labelled else {}))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"train": str(path), "text": "query", "text_pair": "text", "kind": "ranking"}


def compressed(model, out, task, **more):
    values = {
        "model": str(model), "out": str(out), "task": task, "dense": TRAINING,
        "stages": [
            {"name": "search", "method": {"name": "last-k", "keep_layers": 1}, "start": "dense"},
            {"name": "repair", "method": {"name": "finetune"}, "objective": {"logits": 1.0}, "training": TRAINING},
        ],
        "measure": {"batch": [1], "length": [8], "backends": ["torch"], "resamples": 100},
        "export": {"onnx": False},
    }  # fmt: skip
    return run(parse(values | more, "these settings"))


def test_a_cross_encoder_goes_in_and_comes_out(reranker, tmp_path):
    report = compressed(reranker, tmp_path / "out", couples(tmp_path / "rows.jsonl"), fine_tune="never")
    assert (report.task.kind, report.task.metric) == ("ranking", "mrr")
    assert "text-ranking" in (tmp_path / "out" / "model" / "README.md").read_text()
    folder, question = tmp_path / "out" / "model", ("the film", "good plot")
    assert (read_kind(folder), load(folder).config.label_names) == ("ranking", ["relevance"])
    score = Predictor(folder).predict([question])[0].score
    assert 0 < score < 1
    (stock,) = CrossEncoder(str(folder), device="cpu").predict([question])
    assert score == pytest.approx(float(stock), abs=1e-5)
    dense = tmp_path / "out" / "dense" / "model"
    to_huggingface(load(dense)).save_pretrained(tmp_path / "stock")
    words_tokenizer().save_pretrained(tmp_path / "stock")
    back = CrossEncoder(str(tmp_path / "stock"), device="cpu")
    first = CrossEncoder(str(reranker), device="cpu")
    assert back.predict([question]) == pytest.approx(first.predict([question]), abs=1e-5)
    assert read_kind(tmp_path / "stock") == "ranking"


def test_texts_alone_and_scores_of_a_saved_one(reranker, tmp_path):
    task = couples(tmp_path / "rows.jsonl", labelled=False)
    report = compressed(reranker, tmp_path / "out", task)
    assert (report.task.kind, report.task.metric) == ("ranking", "spearman")
    labelled = couples(tmp_path / "v.jsonl") | {"kind": "auto"}
    labelled["validation"] = labelled.pop("train")
    found = evaluate(tmp_path / "out" / "model", labelled)
    assert set(found.scores) == {"mrr", "accuracy"}


def test_a_new_head_learns_the_relevance(tmp_path):
    body = write_stock_bert(tmp_path / "bert")
    report = compressed(body, tmp_path / "out", couples(tmp_path / "rows.jsonl"))
    assert read_kind(tmp_path / "out" / "dense" / "model") == "ranking"
    assert report.task.kind == "ranking"
    with torch.no_grad():
        logits = load(tmp_path / "out" / "model")(torch.tensor([[2, 5, 3]])).logits
    assert logits.shape == (1, 1)
