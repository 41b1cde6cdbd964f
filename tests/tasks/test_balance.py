"""A class that nearly all rows have, and classes that nobody answers, are not hidden by a high score."""

from __future__ import annotations

import dataclasses

import numpy as np

from trimformer.tasks.balance import balance_notes
from trimformer.tasks.data import Task
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.outcome import Outcome

TASK = Task("mine", "classification", ("no", "yes"), ("accuracy", "f1_macro"), "here")


def outcome(answers: np.ndarray, truth: np.ndarray, task: Task = TASK) -> Outcome:
    return Outcome({}, answers, truth, KINDS[task.kind].metric(task))


def test_98_percent_of_one_class() -> None:
    truth = np.array([0] * 98 + [1] * 2)
    said = balance_notes(
        TASK, {"The dense model": outcome(truth, truth), "The file": outcome(np.zeros(100, int), truth)}, "validation"
    )
    assert said == [
        "WARNING: 98.0 % of the 100 validation rows have the label no, so that a model which always answers no has an "
        "accuracy of 0.980.",
        "The dense model has a macro F1 of 1.000 on the validation rows.",
        "WARNING: The file has a macro F1 of 0.495 on the validation rows and never answers yes. The score is "
        "accuracy; --metric f1_macro decides by all classes alike.",
    ]
    by_macro = dataclasses.replace(TASK, metrics=("f1_macro", "accuracy"))
    assert "--metric" not in balance_notes(by_macro, {"It": outcome(truth, truth)}, "validation")[-1]


def test_a_class_that_is_never_answered_though_none_is_frequent() -> None:
    task = dataclasses.replace(TASK, labels=("a", "b", "c", "d"))  # d is in no row
    truth, answers = np.array([0, 1, 2] * 5), np.array([0, 1, 1] * 5)
    (said,) = balance_notes(task, {"It": outcome(answers, truth)}, "validation")
    assert "never answers c." in said
    assert balance_notes(task, {"It": outcome(truth, truth)}, "validation") == []


def test_labels_that_are_never_given() -> None:
    task = Task("mine", "multilabel", ("a", "b"), ("f1_micro",), "here")
    truth = np.array([[True, False], [True, True]])
    (said,) = balance_notes(task, {"It": outcome(truth & [True, False], truth, task)}, "validation")
    assert "It has a macro F1 of 0.500 on the validation rows and never answers b." in said


def test_numbers_have_no_classes() -> None:
    task = Task("mine", "regression", (), ("mae",), "here")
    assert balance_notes(task, {"It": outcome(np.zeros(3), np.ones(3), task)}, "validation") == []
