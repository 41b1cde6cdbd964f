import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from trimformer.tasks.data import Examples, Task
from trimformer.tasks.kinds import KINDS

METRICS = ("f1_micro", "f1_macro", "accuracy")
KIND = KINDS["multilabel"]
TASK = Task("custom", "multilabel", ("a", "b", "c"), METRICS, "here")


def test_matrix() -> None:
    matrix = KIND.labels(TASK, {}, Examples(["x", "y", "z"], None, [(0, 2), (), (1,)]))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_scores() -> None:
    """Against scikit-learn, and against the counts that the definitions are made of."""
    random = np.random.default_rng(0)
    truth, predicted = random.random((200, 3)) < [0.2, 0.5, 0.7], random.random((200, 3)) < 0.4
    found = KIND.scores(TASK, predicted, truth)
    assert list(found) == list(METRICS)
    per_label = f1_score(truth, predicted, average=None)
    assert found["f1_macro"] == pytest.approx(per_label.mean())
    assert found["f1_micro"] == pytest.approx(f1_score(truth.ravel(), predicted.ravel()))
    assert found["accuracy"] == accuracy_score(truth, predicted) == np.mean((truth == predicted).all(1))
    (_, false), (missed, right) = confusion_matrix(truth.ravel(), predicted.ravel())
    assert found["f1_micro"] == pytest.approx(2 * right / (2 * right + false + missed))
    assert KIND.metric(TASK)(predicted, truth) == pytest.approx(found["f1_micro"], abs=1e-12)


def test_the_f1_of_one_label() -> None:
    truth, predicted = np.array([[1, 0, 1], [1, 1, 0]], bool), np.array([[1, 0, 0], [0, 1, 0]], bool)
    task = KIND.scored_by(TASK, "f1:a")
    assert KIND.scores(task, predicted, truth)["f1:a"] == pytest.approx(2 / 3)


def test_labels_that_never_occur_count_as_0() -> None:
    none = np.zeros((4, 3), dtype=bool)
    assert KIND.scores(TASK, none, none) == {"f1_micro": 0, "f1_macro": 0, "accuracy": 1}
    assert KIND.metric(TASK)(none, none) == 0
    first = none.copy()
    first[:, 0] = True
    assert KIND.scores(TASK, first, first) == {"f1_micro": 1, "f1_macro": pytest.approx(1 / 3), "accuracy": 1}
