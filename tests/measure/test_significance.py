"""The paired bootstrap on cases whose answer is known."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from trimformer.errors import TrimformerError
from trimformer.measure.significance import FEW, paired_bootstrap, paired_test
from trimformer.tasks.outcome import Outcome


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predictions == labels))


def correlation(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.corrcoef(predictions, labels)[0, 1])


def _simulate(random: np.random.Generator, n: int, both: float, only_a: float, only_b: float) -> list[np.ndarray]:
    """Labels all 1 and two models: right together, a alone, b alone, or neither, with these probabilities."""
    case = random.choice(4, size=n, p=[both, only_a, only_b, 1 - both - only_a - only_b])
    return [np.isin(case, [0, 1]).astype(int), np.isin(case, [0, 2]).astype(int), np.ones(n, dtype=int)]


def test_identical_predictions() -> None:
    labels = np.arange(50) % 2
    predictions = np.where(np.arange(50) < 5, 1 - labels, labels)
    result = paired_bootstrap(accuracy, predictions, predictions, labels)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert (result.n_examples, result.resamples) == (50, 2000)


def test_clearly_better_and_its_mirror_image() -> None:
    a, b, labels = _simulate(np.random.default_rng(1), 500, 0.7, 0.02, 0.2)
    result, mirrored = paired_bootstrap(accuracy, a, b, labels), paired_bootstrap(accuracy, b, a, labels)
    assert result.difference == pytest.approx(accuracy(b, labels) - accuracy(a, labels))
    assert 0 < result.low < result.difference < result.high
    assert result.p_value < 0.001
    assert mirrored.difference == -result.difference
    assert mirrored.high == pytest.approx(-result.low)
    assert mirrored.p_value == result.p_value


def test_seed_decides() -> None:
    a, b, labels = _simulate(np.random.default_rng(2), 100, 0.7, 0.1, 0.12)
    assert paired_bootstrap(accuracy, a, b, labels) == paired_bootstrap(accuracy, a, b, labels)
    assert paired_bootstrap(accuracy, a, b, labels, seed=1) != paired_bootstrap(accuracy, a, b, labels)


def test_agrees_with_scipy() -> None:
    a, b, labels = _simulate(np.random.default_rng(3), 400, 0.7, 0.08, 0.12)
    ours = paired_bootstrap(accuracy, a, b, labels)
    theirs = stats.bootstrap(
        (a == labels, b == labels),
        lambda x, y, axis: np.mean(y, axis=axis) - np.mean(x, axis=axis),
        paired=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.008)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.008)


def test_interval_covers_the_truth_and_p_is_uniform_enough() -> None:
    random = np.random.default_rng(4)
    trials, covered, rejected = 300, 0, 0
    for trial in range(trials):
        a, b, labels = _simulate(random, 200, 0.7, 0.1, 0.1)
        result = paired_bootstrap(accuracy, a, b, labels, resamples=300, seed=trial)
        covered += result.low <= 0 <= result.high
        rejected += result.p_value <= 0.05
    # three standard errors of a binomial at 0.95 and 300 trials are 0.038
    assert 0.91 <= covered / trials <= 0.99
    assert rejected / trials <= 0.09


def test_degenerate_resamples_are_left_out_and_counted() -> None:
    labels = np.array([0.0, 0.0, 0.0, 1.0])
    result = paired_bootstrap(correlation, np.array([0.1, 0.2, 0.0, 0.9]), np.array([0.3, 0.2, 0.1, 0.8]), labels)
    assert 1000 < result.resamples < 2000
    assert np.isfinite([result.difference, result.low, result.high, result.p_value]).all()


@pytest.mark.parametrize(
    ("a", "b", "labels"), [([], [], []), ([1], [1, 0], [1, 0]), ([1, 0], [1], [1, 0]), ([1, 0], [1, 0], [1])]
)
def test_unequal_lengths(a: list[int], b: list[int], labels: list[int]) -> None:
    with pytest.raises(TrimformerError, match="one of each per example"):
        paired_bootstrap(accuracy, np.array(a), np.array(b), np.array(labels))


def test_metric_that_is_never_finite() -> None:
    with pytest.raises(TrimformerError, match="not finite"):
        paired_bootstrap(correlation, np.zeros(5), np.arange(5), np.arange(5))


def test_mostly_degenerate() -> None:
    finite = iter([0.5, 0.5])  # on the whole sample, then never again
    with pytest.raises(TrimformerError, match="use more examples"):
        paired_bootstrap(lambda p, y: next(finite, np.nan), np.zeros(5), np.zeros(5), np.zeros(5))


def test_is_fast_for_accuracy() -> None:
    a, b, labels = _simulate(np.random.default_rng(5), 1000, 0.8, 0.05, 0.05)
    start = time.process_time()
    paired_bootstrap(accuracy, a, b, labels)
    assert time.process_time() - start < 2


def _outcomes(losses: int, gains: int, n: int, groups: np.ndarray | None = None) -> tuple[Outcome, Outcome]:
    """Two models with so many rows that only the first, and only the second has right."""
    truth, a, b = np.ones(n, int), np.ones(n, int), np.ones(n, int)
    b[:losses], a[losses : losses + gains] = 0, 0
    first, second = (Outcome({}, one, truth, accuracy, one == truth, groups) for one in (a, b))
    return first, second


def test_without_a_differing_row_the_interval_is_exact_and_not_0_to_0() -> None:
    """Of 100 rows none differs: at most 4.29 points may be lost or gained, as 1 - 0.0125 ** (1 / 100) says."""
    found = paired_test(*_outcomes(0, 0, 100))
    assert (found.interval, found.difference, found.p_value, found.resamples) == ("exact", 0, 1, 0)
    assert found.high == pytest.approx(1 - 0.0125**0.01)
    assert found.low == -found.high


def test_few_rows_have_an_exact_interval_and_many_the_bootstrap() -> None:
    found = paired_test(*_outcomes(7, 2, 500))
    assert (found.interval, found.differing) == ("exact", 9)
    lost, gained = (stats.binomtest(k, 500).proportion_ci(0.975, "exact") for k in (7, 2))
    assert found.low == pytest.approx(gained.low - lost.high)
    assert found.high == pytest.approx(gained.high - lost.low)
    assert found.p_value == pytest.approx(stats.binomtest(7, 9).pvalue)
    first, second = _outcomes(7, 3, 500)
    assert paired_test(first, second) == paired_bootstrap(accuracy, first.answers, second.answers, first.truth)


def test_the_exact_interval_covers_a_rare_truth() -> None:
    """Each of 200 rows is lost with 0.5 %; a bootstrap sees none in a third of the cases, and misses that."""
    random, covered, trials = np.random.default_rng(5), 0, 200
    for losses in random.binomial(200, 0.005, trials):
        found = paired_test(*_outcomes(int(losses), 0, 200), resamples=20)
        covered += found.low <= -0.005 <= found.high
    assert covered / trials >= 0.95


def test_groups_are_drawn_whole() -> None:
    """Fifty groups of ten that are lost or kept together spread as fifty rows do, not as five hundred."""
    groups = np.repeat(np.arange(50), 10)[np.random.default_rng(6).permutation(500)]
    lost = groups < 12
    truth = np.ones(500, int)
    first, second = (Outcome({}, one, truth, accuracy, one == truth, groups) for one in (truth, 1 - lost))
    found = paired_test(first, second)
    assert (found.groups, found.differing, found.interval) == (50, 12, "bootstrap")
    small = paired_bootstrap(accuracy, np.ones(50), 1.0 * (np.arange(50) >= 12), np.ones(50))
    assert (found.low, found.high) == pytest.approx((small.low, small.high))
    assert found.difference == pytest.approx(-0.24)
    row_by_row = paired_bootstrap(accuracy, first.answers, second.answers, truth)
    assert found.high - found.low > 2 * (row_by_row.high - row_by_row.low)


def test_fewer_than_ten_groups_prove_nothing() -> None:
    first, second = _outcomes(100, 0, 900, groups=np.arange(900) % (FEW - 1))
    found = paired_test(first, second)
    assert (found.groups, found.interval, found.proves) == (9, "bootstrap", False)
    assert paired_test(*_outcomes(100, 0, 900, groups=np.arange(900) % FEW)).proves
    assert not paired_test(*_outcomes(0, 0, 900, groups=np.arange(900) % 100)).proves  # 0 to 0, of 100 groups


def test_answers_that_the_metric_does_not_look_at_prove_nothing() -> None:
    """The F1 of a class that no row has stays 0 whatever is answered."""
    truth = np.zeros(200, int)
    found = paired_bootstrap(lambda *_: 0.0, truth, np.arange(200) % 2, truth, resamples=100)
    assert (found.low, found.high, found.differing, found.proves) == (0, 0, 100, False)
