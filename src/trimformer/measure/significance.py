"""Is a difference between two models on the same examples more than chance? The paired bootstrap; an exact bound."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable

import numpy as np
from scipy.stats import beta

from ..errors import TrimformerError

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """difference: metric of b minus metric of a on all examples, in units of the metric.

    low, high: percentile interval of it, 95 % unless another one was asked for. p_value: two-sided, of no difference.
    resamples: those that counted.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n_examples: int
    resamples: int


def paired_bootstrap(
    metric: Callable[[np.ndarray, np.ndarray], float],
    predictions_a: np.ndarray,
    predictions_b: np.ndarray,
    labels: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Bootstrap:
    """Compare two sets of predictions (n,) for the same labels (n,) under ``metric(predictions, labels)``.

    Every resample draws n examples with replacement, the same ones for a and b. The interval is the
    percentile interval (Efron & Tibshirani 1993, ch. 13). The p-value is the share of resamples whose
    difference lies at least |difference| away from the observed one, that is, the bootstrap distribution
    moved to no difference (Berg-Kirkpatrick et al. 2012, here two-sided); the observed sample counts as one
    of them, so the p-value is never 0.

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
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # degenerate resamples are counted below instead
        difference = float(metric(b, truth)) - float(metric(a, truth))
        if not np.isfinite(difference):
            raise TrimformerError("The metric is not finite on these predictions: nothing can be tested.")
        drawn = np.empty(resamples)
        for index in range(resamples):
            rows = random.integers(0, n, n)
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
    return Bootstrap(difference, float(low), float(high), p_value, n, len(drawn))


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
