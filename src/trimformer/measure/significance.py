"""Is a difference between two models on the same examples more than chance? The paired bootstrap; exact bounds."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.stats import beta, binomtest

from ..errors import TrimformerError
from ..tasks.outcome import Outcome

CONFIDENCE = 0.95
FEW = 10
"""With fewer examples, or groups, on which two models differ, a bootstrap knows nothing of those not seen."""

Interval = Literal["bootstrap", "exact"]


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """difference: metric of b minus metric of a on all examples, in units of the metric.

    low, high: interval of it, 95 % unless another one was asked for, made as ``interval`` says. p_value: two-sided, of
    no difference. resamples: those that counted; an exact interval needs none. differing: examples on which the two
    differ, or groups with such an example, where examples belong together. groups: how many there are; None: each
    example stands alone. proves: whether so much differs, also in what the metric looks at, that the interval says
    anything of other examples.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n_examples: int
    resamples: int
    interval: Interval = "bootstrap"
    differing: int | None = None
    groups: int | None = None
    proves: bool = True


def paired_test(
    before: Outcome, after: Outcome, resamples: int = 2000, *, confidence: float = CONFIDENCE
) -> PairedTest:
    """Compare what two models are worth on the same rows.

    Where rows are right or wrong and fewer than ten differ, the interval is exact: rows lost and rows gained have the
    bounds of :func:`exact_upper`, each end at half of what the confidence leaves, and the p-value is that of McNemar's
    exact test ("Note on the Sampling Error of the Difference Between Correlated Proportions", 1947). Rows of groups are
    drawn group by group, where no exact bound holds. All else is as in :func:`paired_bootstrap`.
    """
    first, second, metric = before.answers, after.answers, before.metric
    if before.hits is not None and after.hits is not None:
        first, second, metric = before.hits, after.hits, _share
    test = paired_bootstrap(
        metric, first, second, before.truth, resamples, confidence=confidence, groups=before.groups
    )  # fmt: skip
    if metric is not _share or test.groups is not None or test.proves:
        return test
    losses, gains, n = int((first & ~second).sum()), int((second & ~first).sum()), test.n_examples
    level = (1 - confidence) / 2
    low, high = -exact_upper(losses, gains, n, level), exact_upper(gains, losses, n, level)
    p_value = float(binomtest(losses, losses + gains).pvalue) if losses + gains else 1.0
    return dataclasses.replace(
        test, low=low, high=high, p_value=p_value, resamples=0, interval="exact", proves=True
    )  # fmt: skip


def _share(hits: np.ndarray, _: np.ndarray) -> float:
    return float(np.mean(hits))


def paired_bootstrap(
    metric: Callable[[np.ndarray, np.ndarray], float],
    predictions_a: np.ndarray,
    predictions_b: np.ndarray,
    labels: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    groups: np.ndarray | None = None,
) -> PairedTest:
    """Compare two sets of predictions (n,) for the same labels (n,) under ``metric(predictions, labels)``.

    Every resample draws n examples with replacement, the same ones for a and b. The interval is the
    percentile interval (Efron & Tibshirani 1993, ch. 13). The p-value is the share of resamples whose
    difference lies at least |difference| away from the observed one, that is, the bootstrap distribution
    moved to no difference (Berg-Kirkpatrick et al. 2012, here two-sided); the observed sample counts as one
    of them, so the p-value is never 0.

    groups: (n,), equal where examples belong together, such as questions on one text. Whole groups are drawn then, as
    many as there are (cluster bootstrap; Davison & Hinkley, "Bootstrap Methods and their Application", 1997, 3.8).

    A resample is left out where the metric of a or b is not finite on it, as with a correlation when all
    drawn labels are equal; ``resamples`` of the result says how many counted.

    Raises TrimformerError where there is nothing to compare: no examples, unequal lengths, or a metric that
    is not finite on the whole sample or on more than half of the resamples.
    """
    a, b, truth = (np.asarray(values) for values in (predictions_a, predictions_b, labels))
    n = len(truth)
    if n == 0 or len(a) != n or len(b) != n:
        raise TrimformerError(
            f"Cannot compare {len(a)} and {len(b)} predictions for {n} labels: give one of each per example."
        )
    if resamples < 1:
        raise TrimformerError(f"resamples={resamples} is too small: draw at least one.")
    random = np.random.default_rng(seed)
    group_of = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    by_group, count = np.argsort(group_of, kind="stable"), int(group_of.max()) + 1
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # degenerate resamples are counted below instead
        difference = float(metric(b, truth)) - float(metric(a, truth))
        if not np.isfinite(difference):
            raise TrimformerError("The metric is not finite on these predictions: nothing can be tested.")
        drawn = np.empty(resamples)
        for index in range(resamples):
            rows = random.integers(0, count, count)
            if groups is not None:
                times = np.bincount(rows, minlength=count)
                rows = np.repeat(by_group, times[group_of[by_group]])
            drawn[index] = metric(b[rows], truth[rows]) - metric(a[rows], truth[rows])
    drawn = drawn[np.isfinite(drawn)]
    if 2 * len(drawn) < resamples:
        raise TrimformerError(
            f"The metric is finite on only {len(drawn)} of {resamples} resamples of {n} examples: use more examples."
        )
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    # The tolerance keeps ties ties: sums of the same fractions differ in the last bits.
    extreme = int(np.count_nonzero(np.abs(drawn - difference) >= abs(difference) - 1e-12))
    p_value = (1 + extreme) / (1 + len(drawn))
    differing = len(np.unique(group_of[(a != b).reshape(n, -1).any(axis=1)]))
    return PairedTest(
        difference, float(low), float(high), p_value, n, len(drawn),
        differing=differing, groups=None if groups is None else count, proves=differing >= FEW and not low == high == 0,
    )  # fmt: skip


def exact_upper(losses: float, gains: float, n: float, level: float) -> float:
    """Upper end of the one-sided interval, wrong at most in a share ``level`` of cases, of the fall of a share of hits.

    losses, gains: of n rows those that only the first, and only the second model has right. Their shares have the
    exact bounds of Clopper and Pearson ("The Use of Confidence or Fiducial Limits", 1934), each at half of the level,
    so that both hold together: it is never wrong too often, not even where no row differs, and rather careful.
    """
    most = 1.0 if losses >= n else float(beta.ppf(1 - level / 2, losses + 1, n - losses))
    least = 0.0 if gains <= 0 else float(beta.ppf(level / 2, gains, n - gains + 1))
    return most - least


def rows_for(losses: int, gains: int, n: int, level: float, limit: float) -> int | None:
    """How many rows with the same shares bring :func:`exact_upper` to the limit; None where no number does."""
    if losses - gains >= limit * n:
        return None
    low, high = 0.0, 1.0
    while exact_upper(losses * high, gains * high, n * high, level) > limit:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        fits = exact_upper(losses * middle, gains * middle, n * middle, level) <= limit
        low, high = (low, middle) if fits else (middle, high)
    return math.ceil(n * high)
