"""Every form of an answer, in PyTorch and ONNX Runtime, against the logits of the model."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.wordmodels import WORDS, randomized, tiny_classifier, tiny_config, tiny_tokenizer
from trimformer.deploy.export import export
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads import TrimformerForQuestionAnswering, TrimformerForTokenClassification
from trimformer.errors import TrimformerError
from trimformer.inference.predictor import Predictor
from trimformer.tasks.kinds.answers import Answer, Labels, Prediction, Tags

TAGS = ["O", "B-X", "I-X"]


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    export(model, folder / "onnx", precision=["fp32"])
    return folder / "model"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = with_labels(tiny_config(), TAGS, "tokens")
    return save(randomized(TrimformerForTokenClassification, config), tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = with_labels(tiny_config(), (), "spans")
    return save(randomized(TrimformerForQuestionAnswering, config), tmp_path_factory.mktemp("reader"))


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_tags(tagger: Path, backend: Any) -> None:
    draw = random.Random(0)
    sentences = [draw.choices(WORDS, k=k) for k in (3, 9, 1, 0, 90, 5)]
    predictor = Predictor(tagger, backend)
    assert predictor.kind == "tokens"
    found = predictor.predict(sentences, batch_size=2)
    model = Predictor(tagger, "torch").session.model
    for sentence, answer in zip(sentences, found, strict=True):
        ids = tiny_tokenizer()(" ".join(sentence), truncation=True, max_length=80, return_tensors="pt")
        with torch.inference_mode():
            best = model(**ids).logits[0].argmax(-1)[1:-1].tolist()  # one piece a word; not [CLS] and [SEP]
        tags = [TAGS[i] for i in best] + [None] * max(0, len(sentence) - 78)
        assert answer == Tags(sentence, tags)
    assert predictor.predict(["never  again"]) == predictor.predict([["never", "again"]])
    assert str(Tags(["a", "b"], ["O", None])) == "O _"


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_spans(reader: Path, backend: Any) -> None:
    draw = random.Random(1)
    questions = [" ".join(draw.choices(WORDS, k=k)) for k in (2, 3, 4)]
    contexts = ["  ".join(draw.choices(WORDS, k=k)) for k in (7, 50, 200)]
    predictor = Predictor(reader, backend)
    found = predictor.predict(questions, contexts, batch_size=2)
    alone = [Predictor(reader, "torch").predict([q], [c])[0] for q, c in zip(questions, contexts, strict=True)]
    model = Predictor(reader, "torch").session.model
    for question, context, answer, other in zip(questions, contexts, found, alone, strict=True):
        assert isinstance(answer, Answer)
        assert isinstance(other, Answer)
        assert answer.answer == context[answer.start : answer.end] != ""
        assert (answer.start, answer.end) == (other.start, other.end)
        assert answer.score == pytest.approx(other.score, abs=1e-4)
        if len(context.split()) > 70:  # several windows
            continue
        coded = tiny_tokenizer()(question, context, return_tensors="pt")
        with torch.inference_mode():
            start, end = model(**coded).logits[0].unbind(-1)
        first = len(question.split()) + 2
        sums = {
            (i, j): float(start[i] + end[j])
            for i in range(first, len(start) - 1)
            for j in range(i, min(i + 30, len(start) - 1))
        }
        i, j = max(sums, key=lambda span: sums[span])
        assert answer.answer.split() == context.split()[i - first : j - first + 1]
        assert answer.score == pytest.approx(sums[i, j], abs=1e-4)


def test_questions_need_a_context(reader: Path) -> None:
    with pytest.raises(TrimformerError, match="give a question and a context"):
        Predictor(reader).predict(["who"])
    assert Predictor(reader).predict(["who"], [""]) == [Answer("", 0, 0, None)]


def test_several_labels(tmp_path: Path) -> None:
    config = with_labels(tiny_config(), ["a", "b", "c"], "multilabel")
    folder = save(randomized(type(tiny_classifier()), config), tmp_path)
    torch_found, onnx_found = (
        Predictor(folder, backend).predict(["good film", "bad"]) for backend in ("torch", "onnx")
    )
    model = Predictor(folder, "torch").session.model
    for text, one, other in zip(["good film", "bad"], torch_found, onnx_found, strict=True):
        with torch.inference_mode():
            expected = model(**tiny_tokenizer()(text, return_tensors="pt")).logits[0].sigmoid().tolist()
        assert isinstance(one, Labels)
        assert isinstance(other, Labels)
        assert list(one.scores.values()) == pytest.approx(expected)
        assert list(other.scores.values()) == pytest.approx(expected, abs=1e-5)
        assert one.labels == other.labels == [name for name, p in zip("abc", expected, strict=True) if p >= 0.5]
    assert str(Labels(["a", "c"], {})) == "a,c"


def test_an_answer_is_one_line_whatever_its_labels_hold() -> None:
    label, shown = "a\nb\x1b[31m", "a\\nb\\x1b[31m"
    assert str(Prediction(label, 0.9, {})) == shown
    assert str(Labels([label, "c"], {})) == f"{shown},c"
    assert str(Tags(["w"], [label])) == shown
