import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef, mean_squared_error

from trimformer.tasks import Task
from trimformer.tasks.kinds.classification import metric_function, predictions
from trimformer.tasks.kinds.classification import score as score_predictions

LABELS = np.array([0, 1, 1, 0, 1, 1])
LOGITS = np.array([[2.0, 1], [0, 1], [3, 1], [0, 1], [0, 2], [-1, 0]])
PREDICTED = LOGITS.argmax(1)


def task(*metrics: str, kind: str = "classification", positive: int = 1) -> Task:
    return Task("custom", kind, ("no", "yes") if kind == "classification" else (), metrics, "here", positive)  # type: ignore[arg-type]


def score(task: Task, logits: np.ndarray, labels: object) -> dict[str, float]:
    return score_predictions(task, predictions(task, logits), labels)  # type: ignore[arg-type]


def test_classification() -> None:
    found = score(task("accuracy", "f1", "f1_macro", "matthews"), LOGITS, LABELS)
    assert list(found) == ["accuracy", "f1", "f1_macro", "matthews"]
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found["f1_macro"] == pytest.approx(f1_score(LABELS, PREDICTED, average="macro"))
    assert found["matthews"] == pytest.approx(matthews_corrcoef(LABELS, PREDICTED))


def test_f1_follows_the_positive_label() -> None:
    turned = score(task("f1", positive=0), LOGITS[:, ::-1], 1 - LABELS)
    assert turned == score(task("f1"), LOGITS, LABELS)


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_regression(shape: tuple[int, ...]) -> None:
    values, truth = np.array([0.1, 0.4, 0.3, 0.9, 2.0]), [0.0, 0.5, 0.6, 1.0, 1.5]
    found = score(task("pearson", "spearman", "mse", kind="regression"), values.reshape(shape), truth)
    assert found["pearson"] == pytest.approx(stats.pearsonr(values, truth).statistic)
    assert found["spearman"] == pytest.approx(0.9)
    assert found["mse"] == pytest.approx(np.mean((values - truth) ** 2))


def test_a_constant_prediction_correlates_with_nothing() -> None:
    found = score(task("pearson", "spearman", kind="regression"), np.ones((3, 1)), [1.0, 2.0, 3.0])
    assert found == {"pearson": 0.0, "spearman": 0.0}
    assert score(task("matthews", "f1"), np.array([[1.0, 0]] * 4), [0, 1, 0, 1]) == {"matthews": 0, "f1": 0}


def test_metric_function_is_the_first_metric() -> None:
    assert metric_function(task("accuracy", "f1"))(PREDICTED, LABELS) == pytest.approx(4 / 6)


def by_hand(name: str, predicted: np.ndarray, truth: np.ndarray) -> float:
    """Each metric once more, from another function or from its definition."""
    if name in ("accuracy", "f1", "f1_macro", "matthews"):
        table = confusion_matrix(truth, predicted)
        right, all_predicted, all_true = table.diagonal(), table.sum(0), table.sum(1)
        f1 = 2 * right / (all_predicted + all_true)
        return {
            "accuracy": right.sum() / table.sum(),
            "f1": f1[1],
            "f1_macro": f1.mean(),
            "matthews": np.corrcoef(predicted, truth)[0, 1],  # of two classes
        }[name]
    if name == "spearman":
        predicted, truth = stats.rankdata(predicted), stats.rankdata(truth)
    return mean_squared_error(truth, predicted) if name == "mse" else np.corrcoef(predicted, truth)[0, 1]


@pytest.mark.parametrize("name", ["accuracy", "f1", "f1_macro", "matthews", "pearson", "spearman", "mse"])
@pytest.mark.parametrize("seed", range(3))
def test_every_metric_against_an_independent_computation(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    if name in ("pearson", "spearman", "mse"):
        truth = random.integers(0, 26, 100) / 5  # ties, as in STS-B
        predicted = truth + random.normal(0, 1, 100).round(1)
    else:
        truth = random.integers(0, 3 if name in ("accuracy", "f1_macro") else 2, 100)
        predicted = np.where(random.random(100) < 0.6, truth, random.permutation(truth))
    assert metric_function(task(name))(predicted, truth) == pytest.approx(by_hand(name, predicted, truth))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="6 predictions for 5 labels"):
        score(task("accuracy"), LOGITS, LABELS[:5])
