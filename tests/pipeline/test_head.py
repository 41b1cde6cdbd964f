"""Whether a head that has the right form was trained for the data."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.command import trimformer
from tests.tinymodel import texts, words_tokenizer, write_csv, write_scores, write_stock_bert
from trimformer import TrimformerError, evaluate, load
from trimformer.deploy.scoring import Scorer
from trimformer.encoder.checkpoints.load import load_tokenizer, read_checkpoint
from trimformer.explanation.explain import _rows as explained_rows
from trimformer.measure.bench.score import score_variants
from trimformer.measure.bench.score import validation as score_of
from trimformer.measure.bench.variants import Variant, open_variant
from trimformer.pipeline.head import match_head, read_for, why_train
from trimformer.pipeline.inputs import load_inputs
from trimformer.recipe.standard import standard_recipe
from trimformer.tasks.data import Examples, Task, TaskData
from trimformer.tasks.encode import encode
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.kinds.texts import ONE_OUTPUT
from trimformer.tasks.outcome import outcome
from trimformer.tasks.settings import TaskSettings
from trimformer.training.evaluate import predict_logits


class Known(torch.nn.Module):
    """A model that answers with given logits, whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits, dtype=torch.float32))

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.logits)


def why(kind, labels, logits, metrics=("accuracy",)):
    task = Task("toy", kind, () if kind == "regression" else ("a", "b"), metrics, "here")
    # All rows are of one length, so that they are one batch in their order.
    rows = Examples(["good film"] * len(labels), None, labels)
    return why_train(Known(logits), task, encode(task, rows, words_tokenizer(), 8))


TRUTH = [0, 1] * 25


def test_classes_by_chance_in_another_order_and_known():
    right = np.eye(2)[TRUTH]
    assert why("classification", TRUTH, right) is None
    assert "contradicts the labels (Matthews correlation -1.00), as if its outputs stood in another order" in why(
        "classification", TRUTH, right[:, ::-1].copy()
    )
    assert "0.00" in why("classification", TRUTH, np.zeros((50, 2)))
    with pytest.raises(TrimformerError, match="not all finite numbers, so that its weights are damaged"):
        why("classification", TRUTH, np.full((50, 2), np.nan))


def test_numbers_of_another_scale():
    numbers = [float(i) for i in range(50)]
    assert why("regression", numbers, np.array(numbers)[:, None] + 1, ("pearson",)) is None
    assert "further from the labels" in why("regression", numbers, np.array(numbers)[:, None] / 50, ("pearson",))


def test_several_labels():
    labels = [(i,) for i in TRUTH]
    assert why("multilabel", labels, np.eye(2)[TRUTH] - 0.5) is None
    assert "by chance" in why("multilabel", labels, np.ones((50, 2)))


def inputs(tmp_path, names, fine_tune, data):
    model = tmp_path / "bert"
    if not model.exists():
        write_stock_bert(model, names)
    settings = TaskSettings(train=str(data), text="text" if data.suffix == ".jsonl" else "review",
                            label="label" if data.suffix == ".jsonl" else "stars")  # fmt: skip
    recipe = standard_recipe(
        str(model), settings, str(tmp_path / "o"), method={"name": "last-k", "keep_layers": 1}, fine_tune=fine_tune
    )
    return load_inputs(recipe, Accelerator(cpu=True))


def test_a_head_that_is_not_kept_is_said_whole_and_with_a_baseline_not_at_all(tmp_path):
    data = write_csv(tmp_path / "r.csv")
    with pytest.raises(TrimformerError, match=r"knows kind: x, kind: y, the data have neg, pos: set fine_tune to auto"):
        inputs(tmp_path, ["kind: x", "kind: y"], "never", data)
    settings = TaskSettings(train=str(data), text="review", label="stars")
    recipe = standard_recipe(str(tmp_path / "bert"), settings, str(tmp_path / "o"), method={"name": "finetune"})
    recipe = recipe.model_copy(update={"baseline": str(write_stock_bert(tmp_path / "dense", ["neg", "pos"]))})
    assert not [note for note in load_inputs(recipe, Accelerator(cpu=True)).notes if "was replaced" in note]


def test_a_head_that_is_fresh_is_trained_unless_told_otherwise(tmp_path):
    data = write_csv(tmp_path / "r.csv")
    found = inputs(tmp_path, ["neg", "pos"], "auto", data)
    assert not found.has_trained_head
    assert "decides about as by chance" in found.notes[0]
    assert "fine_tune: never" in found.notes[0]
    assert inputs(tmp_path, ["neg", "pos"], "never", data).has_trained_head


def test_a_head_that_is_trained_is_kept_unless_told_otherwise(tmp_path):
    model = load(write_stock_bert(tmp_path / "stock", ["neg", "pos"]))
    optimiser, tokenizer = torch.optim.Adam(model.parameters(), lr=1e-2), words_tokenizer()
    batch = tokenizer([text for text, _ in texts(40)], padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    for _ in range(25):
        optimiser.zero_grad()
        model(**batch, labels=torch.tensor([int(good) for _, good in texts(40)])).loss.backward()
        optimiser.step()
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    data = write_csv(tmp_path / "r.csv")
    kept = inputs(tmp_path, None, "auto", data)
    assert (kept.has_trained_head, kept.notes) == (True, [])
    found = inputs(tmp_path, None, "always", data)
    assert not found.has_trained_head
    assert "as fine_tune: always says" in found.notes[0]


def test_a_regressor_of_another_scale(tmp_path):
    found = inputs(tmp_path, ["score"], "auto", write_scores(tmp_path / "r.jsonl"))
    assert not found.has_trained_head
    assert "further from the labels" in found.notes[0]


def test_never_needs_a_head_for_these_labels(tmp_path):
    with pytest.raises(TrimformerError, match="has no head for a task: set fine_tune to auto"):
        inputs(tmp_path, None, "never", write_csv(tmp_path / "r.csv"))


def test_the_option_of_the_command_line(tmp_path):
    model, data = write_stock_bert(tmp_path / "bert"), write_csv(tmp_path / "r.csv")
    columns = ("--text", "review", "--label", "stars", "--method", "last-k", "--keep-layers", 1)
    done = trimformer("compress", model, "--train", data, *columns, "--fine-tune", "never", "--out", tmp_path / "o")
    assert done.code == 2
    assert "set fine_tune to auto" in done.err
    assert not (tmp_path / "o.partial").exists()


def test_one_output_on_labels_0_and_1_is_a_score_of_1(tmp_path):
    checkpoint = read_checkpoint(write_stock_bert(tmp_path / "reranker", ["LABEL_0"]))
    rows = Examples(["good"] * 2, ["film"] * 2, [0, 1])
    data = TaskData(Task("toy", "classification", ("0", "1"), ("accuracy",), "here"), rows, rows, rows)
    kept, _, trained, notes = match_head(checkpoint, data)
    assert trained
    assert kept.config.label_names == ["0", "1"]
    weights = kept.weights["head.output.weight"]
    assert torch.equal(weights[1:], checkpoint.weights["head.output.weight"])
    assert not weights[0].any()
    assert "the score of 1 against 0" in notes[0]


def test_compress_reads_the_head_before_it_decides_on_classes_or_numbers(tmp_path):
    data = tmp_path / "r.csv"
    data.write_text("review,stars\n" + "".join(f"{text} {i},{10 + i % 30}\n" for i, (text, _) in enumerate(texts(90))))
    names = [str(10 + i) for i in range(30)]
    assert inputs(tmp_path / "many", names, "never", data).task.labels == tuple(names)
    assert inputs(tmp_path / "one", ["price"], "auto", data).task.kind == "regression"
    with pytest.raises(TrimformerError, match="name --kind classification or --kind regression"):
        inputs(tmp_path / "none", None, "auto", data)


def test_evaluate_reads_one_output_on_labels_0_and_1_as_compress_does(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["LABEL_0"]), tmp_path / "v.csv"
    data.write_text("text,label\n" + "".join(f"{text},{int(good)}\n" for text, good in texts(12)))
    found = evaluate(model, TaskSettings(validation=str(data)))
    assert list(found.scores) == ["accuracy", "f1_macro"]
    assert next(iter(evaluate(model, TaskSettings(validation=str(data), kind="regression")).scores)) == "pearson"
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    assert next(iter(evaluate(model, TaskSettings(validation=str(data))).scores)) == "pearson"
    with pytest.raises(TrimformerError, match=r"a head for regression, .* --kind regression reads numbers"):
        evaluate(model, TaskSettings(validation=str(data), kind="classification"))


def test_bench_export_and_explain_read_one_output_on_labels_0_and_1_as_compress_does(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["LABEL_0"]), tmp_path / "v.csv"
    data.write_text("text,label\n" + "".join(f"{text},{int(good)}\n" for text, good in texts(12)))
    settings = TaskSettings(validation=str(data))
    expected = evaluate(model, settings)
    assert any("taken to be the score of 1 against 0" in note for note in expected.notes)
    task, _, notes = score_of(model, settings)
    assert (task.labels, task.one_output, notes) == (("0", "1"), True, [ONE_OUTPUT])
    run_model, _ = open_variant(model, "torch", 1, {})
    variant = Variant("m", "torch", run_model)
    (score,) = score_variants([variant], {"m": model}, settings)
    assert (score.metric, score.score, score.said) == ("accuracy", expected.scores["accuracy"], ONE_OUTPUT)
    scorer = Scorer(load(model), load_tokenizer(model), settings)
    assert (scorer.reference, scorer.notes) == (expected.scores["accuracy"], [ONE_OUTPUT])
    one = np.asarray([[-0.1], [0.2]])
    two = np.hstack([0 * one, one])
    assert KINDS["classification"].same(None, one, two).all()
    known, rows, _, reading = explained_rows(model, load(model), settings)
    assert reading == [ONE_OUTPUT]
    net = read_for(load(model), known)
    found = outcome(known, rows, predict_logits(net, rows))
    assert found.scores == pytest.approx(expected.scores)


def test_truth_values_under_one_output_are_the_score_of_true_or_numbers_and_no_advice_leads_in_a_circle(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["LABEL_0"]), tmp_path / "v.jsonl"
    data.write_text("".join(json.dumps({"text": text, "label": good}) + "\n" for text, good in texts(12)))
    assert next(iter(evaluate(model, TaskSettings(validation=str(data))).scores)) == "accuracy"
    numbers = evaluate(model, TaskSettings(validation=str(data), kind="regression"))
    assert next(iter(numbers.scores)) == "pearson"
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"problem_type": "regression"}))
    assert evaluate(model, TaskSettings(validation=str(data))).scores == numbers.scores


def test_evaluate_says_that_a_head_without_names_was_read_in_the_order_of_the_data(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["LABEL_0", "LABEL_1"]), write_csv(tmp_path / "r.csv")
    settings = TaskSettings(validation=str(data), text="review", label="stars")
    said = "The checkpoint's head names no labels; its outputs were taken to be neg, pos, in order."
    assert f"{model}: {said}" in evaluate(model, settings).notes
    assert said in score_of(model, settings)[2]
    named = write_stock_bert(tmp_path / "named", ["neg", "pos"])
    assert not any("names no labels" in note for note in evaluate(named, settings).notes)


def test_evaluate_against_reads_the_rows_as_each_tagger_does(tmp_path):
    tags = ["O", "B-X", "I-X"]
    for name, names in (("long", tags), ("short", tags[::-1])):
        load(write_stock_bert(tmp_path / "stock"), labels=names, kind="tokens").save_pretrained(tmp_path / name)
        tokenizer = words_tokenizer()
        tokenizer.model_max_length = 16 if name == "long" else 8
        tokenizer.save_pretrained(tmp_path / name)
    data = tmp_path / "v.jsonl"
    row = json.dumps({"tokens": ["the", "good", "film", "was", "very", "bad", "and", "dull"], "tags": [*tags, "O"] * 2})
    data.write_text((row + "\n") * 12)
    settings = TaskSettings(validation=str(data), metric="accuracy")
    alone = [evaluate(tmp_path / name, settings).scores["accuracy"] for name in ("long", "short")]
    test = evaluate(tmp_path / "long", settings, against=tmp_path / "short").against
    assert test.difference == pytest.approx(alone[0] - alone[1])


def test_evaluate_against_a_model_with_the_labels_in_another_order_compares_by_names(tmp_path):
    model, data = write_stock_bert(tmp_path / "m", ["neg", "pos"]), write_csv(tmp_path / "r.csv")
    settings = TaskSettings(validation=str(data), text="review", label="stars", metric="f1:pos")
    other = load(model)
    other.config.id2label, other.config.label2id = {0: "pos", 1: "neg"}, {"pos": 0, "neg": 1}
    with torch.no_grad():
        for weight in (other.head.output.weight, other.head.output.bias):
            weight.copy_(weight.flip(0))
    other.save_pretrained(tmp_path / "other")
    words_tokenizer().save_pretrained(tmp_path / "other")
    test = evaluate(model, settings, against=tmp_path / "other").against
    assert (test.difference, test.differing) == (0, 0)
    scores = tmp_path / "reranker.csv"
    scores.write_text("text,label\n" + "".join(f"{text},{int(good)}\n" for text, good in texts(12)))
    turned = write_stock_bert(tmp_path / "turned", ["1", "0"])
    one = write_stock_bert(tmp_path / "one", ["LABEL_0"])
    rows = TaskSettings(validation=str(scores))
    test = evaluate(turned, rows, against=one).against
    alone = [evaluate(path, rows).scores["accuracy"] for path in (turned, one)]
    assert test.difference == pytest.approx(alone[0] - alone[1])
    unlike = write_stock_bert(tmp_path / "unlike", ["neg", "pos", "neutral"])
    with pytest.raises(TrimformerError, match="have different labels: they cannot be compared"):
        evaluate(model, settings, against=unlike)


def test_a_head_without_a_problem_type_answers_several_labels_where_the_data_have_several(tmp_path):
    names = [f"LABEL_{i}" for i in range(5)]
    checkpoint = read_checkpoint(write_stock_bert(tmp_path / "m", names))
    rows = Examples(["good"] * 2, None, [(0, 2), (1, 3, 4)])
    data = TaskData(Task("toy", "multilabel", ("a", "b", "c", "d", "e"), ("f1",), "here"), rows, rows, rows)
    kept, _, trained, _ = match_head(checkpoint, data)
    assert trained
    assert kept.config.problem_type == "multi_label_classification"
