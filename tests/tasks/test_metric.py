"""Which way a metric is better, in which unit it is lost, and which task has it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.tinymodel import write_csv, write_scores
from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Task, TaskData
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.metric import metric
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task, load_validation, with_label_order

TEXTS = Task("mine", "classification", ("neg", "pos"), ("accuracy", "f1_macro"), "here")


def test_a_share_is_lost_in_points_and_an_error_in_its_own_unit() -> None:
    share, error = metric("f1:pos"), metric("mae")
    assert share.drop(-0.02) == pytest.approx(2)
    assert error.drop(-0.02) == pytest.approx(-0.02)
    assert share.rank(0.9) > share.rank(0.8)
    assert error.rank(0.8) > error.rank(0.9)
    for found, worse in ((share, 0.88), (error, 0.92)):
        drop = found.drop(worse - 0.9)
        assert drop > 0
        assert found.after(0.9, drop) == pytest.approx(worse)
    assert str(share.drop(0.0)) == "0.0"


def test_what_is_said_of_a_drop() -> None:
    assert metric("accuracy").lost(0.5) == "0.50 points"
    assert metric("accuracy").lost(-1) == "−1.00 points"
    assert metric("rmse").lost(1234.5) == "1234.50 in the labels' unit"
    assert metric("mae").lost(0.00123, unit=False) == "0.0012"
    assert metric("mae").lost(math.inf, unit=False) == "inf"
    assert metric("accuracy").budget(1) == "1 point"
    assert metric("mse").budget(2) == "2 in the square of the labels' unit"
    assert metric("accuracy").small(0.9) == 0.5
    assert metric("mae").small(41_234) == 210


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("classification", "accuracy, f1_macro, balanced_accuracy, matthews, f1:CLASS"),
        ("multilabel", "f1_micro, f1_macro, accuracy, f1:CLASS"),
        ("regression", "pearson, spearman, mse, mae, rmse"),
        ("tokens", "accuracy"),
        ("spans", "f1, exact_match"),
    ],
)
def test_what_a_kind_does_not_have_is_refused_with_what_it_has(kind: Any, names: str) -> None:
    labels = {"tokens": ("NN", "VB"), "classification": ("a", "b"), "multilabel": ("a", "b")}.get(kind, ())
    task = Task("mine", kind, labels, KINDS[kind].metrics(labels), "here")
    with pytest.raises(TrimformerError, match=rf"'bleu', which mine \({kind}\) does not have: use one of {names}\.$"):
        KINDS[kind].scored_by(task, "bleu")
    for name in names.replace("CLASS", "a").split(", "):
        found = KINDS[kind].scored_by(task, name)
        assert found.metrics == (name, *(other for other in task.metrics if other != name))
        assert callable(KINDS[kind].metric(found))


def test_entities_have_a_metric_that_words_have_not() -> None:
    task = Task("ner", "tokens", ("O", "B-X"), KINDS["tokens"].metrics(["O", "B-X"]), "here")
    assert KINDS["tokens"].scored_by(task, "recall").metrics == ("recall", "f1", "precision", "accuracy")


def test_a_class_that_is_not_there() -> None:
    with pytest.raises(
        TrimformerError, match=r"mine has no class 'posi': its classes are neg, pos\. Did you mean 'pos'"
    ):
        KINDS["classification"].scored_by(TEXTS, "f1:posi")
    with pytest.raises(TrimformerError, match="does not have"):  # which of two classes it is must be said
        KINDS["classification"].scored_by(TEXTS, "f1")


def test_a_models_order_and_names_keep_the_class() -> None:
    part = Examples(["x", "y"], None, [0, 1])
    task = KINDS["classification"].scored_by(TEXTS, "f1:pos")
    turned = with_label_order(TaskData(task, part, part, part), ["POS", "NEG"])
    assert turned.task.metrics[0] == "f1:POS"
    assert turned.task.metric.name == "f1:POS"


def test_the_metric_of_tags_outlasts_a_models_names() -> None:
    labels = ("B-X", "O")
    task = KINDS["tokens"].scored_by(Task("ner", "tokens", labels, KINDS["tokens"].metrics(labels), ""), "precision")
    part = Examples([("a", "b")], None, [(0, 1)])
    known = with_label_order(TaskData(task, part, part, part), ["O", "B-X", "I-X"])
    assert known.task.metrics == ("precision", "f1", "recall", "accuracy")


def test_the_setting_of_a_task(tmp_path: Path) -> None:
    texts = {"validation": str(write_csv(tmp_path / "a.csv", 8)), "text": "review", "label": "stars"}
    task, _ = load_validation(TaskSettings(**texts, metric="f1:neg"), ["pos", "neg"])  # type: ignore[arg-type]
    assert task.metrics == ("f1:neg", "accuracy", "f1_macro")
    scores = TaskSettings(data=str(write_scores(tmp_path / "b.jsonl", 40)), metric="rmse")
    assert load_task(scores).task.metrics == ("rmse", "pearson", "spearman", "mse")
    with pytest.raises(TrimformerError, match=r"custom \(regression\) does not have: use one of pearson"):
        load_task(scores.model_copy(update={"metric": "accuracy"}))


def test_a_class_without_held_out_rows_cannot_decide(tmp_path: Path) -> None:
    rows = [f"text {i},{'ab'[i % 2]}" for i in range(100)] + ["text x,rare", "text y,rare"]
    path = tmp_path / "all.csv"
    path.write_text("\n".join(["text,label", *rows]))
    said = (
        "needs rows of that class in every part of the data, and there are 2 training, 0 selection, 0 validation rows"
    )
    with pytest.raises(TrimformerError, match=said):
        load_task(TaskSettings(data=str(path), metric="f1:rare"))
    assert load_task(TaskSettings(data=str(path), metric="f1:a")).task.metrics[0] == "f1:a"
