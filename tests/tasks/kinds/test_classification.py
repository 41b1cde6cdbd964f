from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef

from trimformer.tasks.data import Task
from trimformer.tasks.kinds import KINDS

KIND = KINDS["classification"]
LABELS = np.array([0, 1, 1, 0, 1, 1])
LOGITS = np.array([[2.0, 1], [0, 1], [3, 1], [0, 1], [0, 2], [-1, 0]])
PREDICTED = LOGITS.argmax(1)


def task(*metrics: str, positive: int = 1) -> Task:
    return Task("custom", "classification", ("no", "yes"), metrics, "here", positive)


def score(task: Task, logits: np.ndarray, labels: Any) -> dict[str, float]:
    data: Any = SimpleNamespace(labels=np.asarray(labels))
    return KIND.scores(task, *KIND.compare(task, data, logits))


def test_metrics() -> None:
    found = score(task("accuracy", "f1", "f1_macro", "matthews"), LOGITS, LABELS)
    assert list(found) == ["accuracy", "f1", "f1_macro", "matthews"]
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found["f1_macro"] == pytest.approx(f1_score(LABELS, PREDICTED, average="macro"))
    assert found["matthews"] == pytest.approx(matthews_corrcoef(LABELS, PREDICTED))


def test_f1_follows_the_positive_label() -> None:
    turned = score(task("f1", positive=0), LOGITS[:, ::-1], 1 - LABELS)
    assert turned == score(task("f1"), LOGITS, LABELS)


def test_a_constant_prediction_says_nothing() -> None:
    assert score(task("matthews", "f1"), np.array([[1.0, 0]] * 4), [0, 1, 0, 1]) == {"matthews": 0, "f1": 0}


def test_the_metric_is_the_first_one() -> None:
    assert KIND.metric(task("accuracy", "f1"))(PREDICTED, LABELS) == pytest.approx(4 / 6)


def by_hand(name: str, predicted: np.ndarray, truth: np.ndarray) -> float:
    """Each metric once more, from another function or from its definition."""
    table = confusion_matrix(truth, predicted)
    right, all_predicted, all_true = table.diagonal(), table.sum(0), table.sum(1)
    f1 = 2 * right / (all_predicted + all_true)
    return {
        "accuracy": right.sum() / table.sum(),
        "f1": f1[1],
        "f1_macro": f1.mean(),
        "f1:yes": f1[1],
        "balanced_accuracy": (right / all_true).mean(),
        "matthews": matthews_corrcoef(truth, predicted),
    }[name]


@pytest.mark.parametrize("name", ["accuracy", "f1", "f1_macro", "matthews", "f1:yes", "balanced_accuracy"])
@pytest.mark.parametrize("seed", range(3))
def test_every_metric_against_an_independent_computation(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2 if name.startswith("f1:") or name == "f1" else 3, 100)
    predicted = np.where(random.random(100) < 0.6, truth, random.permutation(truth))
    assert KIND.metric(task(name))(predicted, truth) == pytest.approx(by_hand(name, predicted, truth))


def test_classes_that_are_not_there_do_not_count() -> None:
    predicted, truth = np.array([0, 0, 3]), np.array([0, 2, 2])
    for name, library in (("f1_macro", f1_score(truth, predicted, average="macro")), ("balanced_accuracy", 0.5)):
        assert KIND.metric(task(name))(predicted, truth) == pytest.approx(library)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="6 predictions for 5 labels"):
        score(task("accuracy"), LOGITS, LABELS[:5])
