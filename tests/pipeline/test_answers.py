"""Runs on texts without labels: the dense model's own answers take their place."""

import json

import pytest
import torch
from accelerate import Accelerator
from transformers import BertConfig, BertForQuestionAnswering, BertForTokenClassification

from tests.command import sentence, trimformer
from tests.tinymodel import texts, words_tokenizer, write_csv, write_stock_bert
from trimformer import TrimformerError
from trimformer.encoder.checkpoints.load import load_with_head
from trimformer.pipeline.answers import learns
from trimformer.pipeline.digests import digests
from trimformer.pipeline.inputs import load_inputs
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.report.summary import headline
from trimformer.tasks.outcome import outcome
from trimformer.training.evaluate import predict_logits

LAST = {"name": "last", "method": {"name": "last-k", "keep_layers": 1}, "start": "dense"}
TUNE = {"name": "tune", "method": {"name": "finetune"}}


def recipe(tmp_path, model, data, *stages, task=None, **more):
    settings = {"train": str(data), **(task or {})}
    content = {"model": str(model), "task": settings, "out": str(tmp_path / "o"), "stages": list(stages or [LAST])}
    return parse(content | more, "these settings")


def inputs(*given, **more):
    return load_inputs(recipe(*given, **more), Accelerator(cpu=True))


def plain(path, rows=60):
    path.write_text("".join(f"{text}\n" for text, _ in texts(rows)))
    return path


def other_head(folder, cls, labels):
    torch.manual_seed(0)
    named = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=40, initializer_range=0.2, **named,
    )  # fmt: skip
    cls(config).save_pretrained(folder)
    words_tokenizer().save_pretrained(folder)
    return folder


def dense_scores(found, model):
    net = load_with_head(model)
    return [
        outcome(found.task, part, predict_logits(net, part)).scores
        for part in (found.train, found.selection, found.validation)
    ]


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "tokens", "spans"])
def test_the_dense_model_agrees_with_itself_wholly_whatever_its_head_is(tmp_path, kind):
    data = plain(tmp_path / "t.txt")
    if kind == "tokens":
        model = other_head(tmp_path / "m", BertForTokenClassification, ["O", "B-X", "I-X"])
        data.write_text("".join(f"{text} and {text} again\n" for text, _ in texts(60)))  # words are cut off
    elif kind == "spans":
        model = other_head(tmp_path / "m", BertForQuestionAnswering, ["start", "end"])
        data = tmp_path / "t.jsonl"
        rows = [{"question": "good film", "context": " ".join(f"{text} bad" for _ in "abc")} for text, _ in texts(60)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        model = write_stock_bert(tmp_path / "m", ["x"] if kind == "regression" else ["x", "y", "z"])
        if kind == "multilabel":
            config = json.loads((model / "config.json").read_text()) | {"problem_type": "multi_label_classification"}
            (model / "config.json").write_text(json.dumps(config))
    found = inputs(tmp_path, model, data, task={"max_length": 8})
    assert (found.task.kind, found.task.pseudo_labels, found.has_trained_head) == (kind, True, True)
    name = found.task.metrics[0]
    for scores in dense_scores(found, model):
        assert scores[name] == pytest.approx(1, abs=1e-6)
    assert f"agreement with the dense model's own answers ({name} over 9 " in found.notes[0]


def test_one_answer_to_all_texts_is_no_reason_for_another_head(tmp_path):
    data = tmp_path / "t.txt"
    data.write_text("good film\n" * 20 + "good music\n" * 20)
    found = inputs(tmp_path, write_stock_bert(tmp_path / "m", ["x", "y"]), data)
    assert found.has_trained_head
    assert len({*found.train.examples.labels, *found.validation.examples.labels}) == 1


def test_labels_are_left_unread_where_that_is_asked_for(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["x", "y"]), write_csv(tmp_path / "t.csv")
    found = inputs(tmp_path, model, data, task={"text": "review", "pseudo_labels": True})
    assert found.task.labels == ("x", "y")
    assert found.notes[0].startswith("The labels of the data were not read: scores are agreement")
    with pytest.raises(TrimformerError, match=r"no column 'label'.*review, stars.*--pseudo-labels"):
        inputs(tmp_path, model, data, task={"text": "review"})


def test_a_baseline_is_the_model_that_is_asked(tmp_path):
    body, data = write_stock_bert(tmp_path / "body"), plain(tmp_path / "t.txt")
    dense = write_stock_bert(tmp_path / "m", ["x", "y"])
    found = inputs(tmp_path, body, data, baseline=str(dense))
    assert not found.has_trained_head
    assert found.task.labels == ("x", "y")
    assert [scores["accuracy"] for scores in dense_scores(found, dense)] == [1, 1, 1]


def test_training_the_dense_model_and_models_without_a_head_are_refused_in_a_sentence(tmp_path):
    data = plain(tmp_path / "t.txt")
    model, body = write_stock_bert(tmp_path / "m", ["x", "y"]), write_stock_bert(tmp_path / "body")
    with pytest.raises(TrimformerError, match=r"fine_tune: always trains the dense model, whose own answers are"):
        inputs(tmp_path, model, data, fine_tune="always")
    with pytest.raises(TrimformerError, match=r"texts alone, and .*body has no head for a task .* name a fine"):
        inputs(tmp_path, body, data)
    table = ("--train", write_csv(tmp_path / "t.csv"), "--text", "review", "--label", "stars")
    said = sentence(trimformer("compress", model, *table, "--max-disagreement", 1, "--out", tmp_path / "o"))
    assert said.startswith("--max-disagreement is a budget for texts without labels, and these data have labels: use")
    both = ("--texts", data, "--max-disagreement", 1, "--max-drop", 1)
    said = sentence(trimformer("compress", model, *both, "--out", tmp_path / "o"))
    assert said == "--max-drop and --max-disagreement are both the budget: leave one out."


def test_what_of_a_recipe_learns(tmp_path):
    given = tmp_path, "m", "t.txt"
    assert not learns(recipe(*given))
    assert learns(recipe(*given, LAST, TUNE))
    budget = {"max_drop": 1.0}
    assert learns(recipe(*given, stages=[], autopilot=budget))
    assert not learns(recipe(*given, stages=[], autopilot=budget | {"post_training": True}))


def test_files_of_texts_may_be_several_and_the_validation_rows_may_have_labels(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["x", "y"]), plain(tmp_path / "t.txt")
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps({"text": f"{text} too", "id": 1}) + "\n" for text, _ in texts(20)))
    held = tmp_path / "v.csv"
    held.write_text("text,label\n" + "".join(f"{text} again,{'yx'[good]}\n" for text, good in texts(30)))
    task = {"train": None, "texts": [str(data), str(more)], "validation": str(held)}
    found = inputs(tmp_path, model, data, TUNE, task=task)
    assert len(found.train) + len(found.selection) == 80
    assert (found.task.pseudo_labels, found.task.labelled_validation, found.task.labels) == (True, True, ("x", "y"))
    assert found.validation.labels.tolist() == [1 - good for _, good in texts(30)]
    by_model = dense_scores(found, model)
    assert [scores["accuracy"] for scores in by_model[:2]] == [1, 1]
    assert by_model[2]["accuracy"] < 1
    assert "scores there are by these labels, and what is chosen is chosen by agreement" in found.notes[0]
    before = digests(found, None)
    held.write_text(held.read_text().replace(",x", ",z").replace(",y", ",x").replace(",z", ",y"))
    after = digests(inputs(tmp_path, model, data, TUNE, task=task), None)
    assert [name for name in before if before[name] != after[name]] == ["the validation rows"]


def test_a_stage_learns_from_the_answers(tmp_path):
    model = write_stock_bert(tmp_path / "m", ["x", "y"])
    task = {"train": None, "texts": [str(plain(tmp_path / "t.txt"))]}
    measure = {"backends": ["torch"], "batch": [1], "resamples": 100}
    tune = TUNE | {"training": {"epochs": 1, "learning_rate": 1e-3}}
    report = run(recipe(tmp_path, model, None, LAST, tune, task=task, measure=measure, export={"onnx": False}))
    assert report.variant("dense").score == 1
    assert "agreement (accuracy)" in headline(report)


def test_the_texts_and_that_they_have_no_labels_are_part_of_what_a_run_was_started_with(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["x", "y"]), plain(tmp_path / "t.txt")
    before = digests(inputs(tmp_path, model, data), None)
    assert digests(inputs(tmp_path, model, data), None) == before
    data.write_text(data.read_text().replace("dull", "stale"))
    changed = digests(inputs(tmp_path, model, data), None)
    names = [name for name in before if before[name] != changed[name]]
    assert set(names) <= {"the training rows", "the selection rows", "the validation rows"}
    assert names
    labelled = tmp_path / "t.csv"
    labelled.write_text("text,label\n" + "".join(f"{text},{'xy'[good]}\n" for text, good in texts(60)))
    read = digests(inputs(tmp_path, model, labelled, fine_tune="never"), None)
    unread = digests(inputs(tmp_path, model, labelled, task={"pseudo_labels": True}), None)
    assert read["the labels"] != unread["the labels"]


def test_a_run_reports_agreement(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["x", "y"]), plain(tmp_path / "t.txt")
    measure = {"backends": ["torch"], "batch": [1], "resamples": 100}
    report = run(recipe(tmp_path, model, data, measure=measure, export={"onnx": False}))
    assert report.variant("dense").score == 1
    assert report.task.pseudo_labels
    assert "agreement (accuracy) " in headline(report)
    assert any(note.startswith("The data have no labels: scores are agreement") for note in report.notes)
    for file in ("report.html", "model/README.md"):
        assert "agreement (accuracy)" in (tmp_path / "o" / file).read_text()
