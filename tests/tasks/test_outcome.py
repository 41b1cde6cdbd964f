"""Scores of logits, and the answers that a paired test compares."""

import numpy as np
import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, GoldAnswer, Task
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.outcome import outcome


def encoded(kind, labels, examples, **others):
    lengths = others.pop("lengths")
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.zeros(offsets[-1], dtype=np.int32)
    return Encoded(ids, None, offsets, np.asarray(labels), 0, 0, kind, examples, **others)


def tagged():
    """Two sentences of two words; CLS and SEP around them."""
    examples = Examples([("a", "b"), ("c", "d")], None, [(1, 0), (1, 2)])
    words = np.array([-1, 0, 1, -1] * 2, dtype=np.int32)
    labels = [-100, 1, 0, -100, -100, 1, 2, -100]
    return encoded("tokens", labels, examples, lengths=[4, 4], words=words)


def test_tokens_are_scored_by_sentence() -> None:
    task = Task("ner", "tokens", ("O", "B-X", "I-X"), ("f1", "precision", "recall", "accuracy"), "test")
    logits = np.eye(3)[[0, 1, 0, 0, 0, 1, 0, 0]]  # the second entity is cut short
    found = outcome(task, tagged(), logits)
    assert found.scores == pytest.approx({"f1": 0.5, "precision": 0.5, "recall": 0.5, "accuracy": 0.75})
    assert len(found.answers) == len(found.truth) == 2
    assert found.metric(found.answers, found.truth) == pytest.approx(0.5)
    assert found.metric(found.answers[:1], found.truth[:1]) == pytest.approx(1.0)


def test_spans_are_scored_by_question_over_its_windows() -> None:
    task = Task("qa", "spans", (), ("f1", "exact_match"), "test")
    examples = Examples(["q", "q"], ["red fox", "big dog"], [(GoldAnswer("red fox", 0),), (GoldAnswer("dog", 4),)])
    windows = np.array([[-1, -1], [0, 3], [4, 7]] * 3, dtype=np.int32)
    data = encoded(
        "spans", [[1, 2], [0, 0], [2, 2]], examples, lengths=[3, 3, 3], owners=np.array([0, 1, 1]), chars=windows
    )
    logits = np.full((9, 2), -9.0)
    logits[1, 0] = logits[2, 1] = 5  # red … fox
    logits[4, 0] = logits[5, 1] = 1  # big … dog, in the first window of the second question
    found = outcome(task, data, logits)
    assert found.groups is not None
    assert found.groups.tolist() == [1, 0]  # two contexts, whose windows are no rows of their own
    assert found.scores == pytest.approx({"f1": (1 + 2 / 3) / 2, "exact_match": 0.5})
    assert found.metric(found.answers[1:], found.truth[1:]) == pytest.approx(2 / 3)


def test_several_labels_are_chosen_by_sign() -> None:
    task = Task("m", "multilabel", ("a", "b"), ("f1_micro", "f1_macro", "accuracy"), "test")
    examples = Examples(["x", "y"], None, [(0,), (0, 1)])
    data = encoded("multilabel", np.array([[1, 0], [1, 1]], dtype=np.float32), examples, lengths=[1, 1])
    found = outcome(task, data, np.array([[1.0, -1], [1, -1]]))
    assert found.scores == pytest.approx({"f1_micro": 0.8, "f1_macro": 0.5, "accuracy": 0.5})
    assert found.metric(found.answers, found.truth) == pytest.approx(0.8)


def test_outputs_that_are_not_numbers() -> None:
    task = Task("c", "classification", ("a", "b"), ("accuracy",), "test")
    data = encoded("classification", [0], Examples(["x"], None, [0]), lengths=[1])
    with pytest.raises(TrimformerError, match="not all finite"):
        outcome(task, data, np.array([[np.nan, 1.0]]))
