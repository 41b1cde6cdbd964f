from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_squared_error

from trimformer.tasks.data import Task
from trimformer.tasks.kinds import KINDS

KIND = KINDS["regression"]


def task(*metrics: str) -> Task:
    return Task("custom", "regression", (), metrics, "here")


def score(task: Task, logits: np.ndarray, labels: list[float]) -> dict[str, float]:
    data: Any = SimpleNamespace(labels=np.asarray(labels))
    return KIND.scores(task, *KIND.compare(task, data, logits))


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_metrics(shape: tuple[int, ...]) -> None:
    values, truth = np.array([0.1, 0.4, 0.3, 0.9, 2.0]), [0.0, 0.5, 0.6, 1.0, 1.5]
    found = score(task("pearson", "spearman", "mse"), values.reshape(shape), truth)
    assert found["pearson"] == pytest.approx(stats.pearsonr(values, truth).statistic)
    assert found["spearman"] == pytest.approx(0.9)
    assert found["mse"] == pytest.approx(np.mean((values - truth) ** 2))


def test_a_constant_prediction_correlates_with_nothing() -> None:
    found = score(task("pearson", "spearman"), np.ones((3, 1)), [1.0, 2.0, 3.0])
    assert found == {"pearson": 0.0, "spearman": 0.0}


def by_hand(name: str, predicted: np.ndarray, truth: np.ndarray) -> float:
    """Each metric once more, from another function or from its definition."""
    if name == "spearman":
        predicted, truth = stats.rankdata(predicted), stats.rankdata(truth)
    errors = {
        "mse": mean_squared_error(truth, predicted),
        "rmse": mean_squared_error(truth, predicted) ** 0.5,
        "mae": mean_absolute_error(truth, predicted),
    }
    return errors.get(name, np.corrcoef(predicted, truth)[0, 1])


@pytest.mark.parametrize("name", ["pearson", "spearman", "mse", "rmse", "mae"])
@pytest.mark.parametrize("seed", range(3))
def test_every_metric_against_an_independent_computation(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 26, 100) / 5  # ties, as in STS-B
    predicted = truth + random.normal(0, 1, 100).round(1)
    assert KIND.metric(task(name))(predicted, truth) == pytest.approx(by_hand(name, predicted, truth))
