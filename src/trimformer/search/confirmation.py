"""Confirmation: whether a file that the selection rows chose keeps the budget on rows that chose nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import TrimformerError
from ..measure.significance import FEW, PairedTest, exact_upper, paired_test, rows_for
from ..pipeline.inputs import Inputs
from ..tasks.encoding.encoded import Encoded
from ..tasks.kinds import KINDS
from ..tasks.metric import Metric, within
from ..tasks.outcome import Outcome
from ..tasks.split import FEWEST_ROWS, split
from .schedule.halving import M, inside, order

MOST = 4
"""Files that are tried at the most: each one more asks for surer evidence from all."""
LEVEL = 0.05
"""How often any file at all may be called sure that is not."""


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """A file on the confirmation rows.

    test: the paired test against the dense model. upper: with ``sure`` the upper end of the one-sided interval of the
    drop, in the budget's unit. rows: how many would bring that end inside, if the drop stays; None where none would, or
    it is.
    """

    name: str
    backend: str
    test: PairedTest
    upper: float | None
    rows: int | None
    confirmed: bool


def set_apart(inputs: Inputs, share: float, seed: int) -> tuple[Inputs, Encoded]:
    """The inputs with fewer selection rows, and the rows that went from there to the confirmation.

    Raises TrimformerError where there are too few for both.
    """
    held = inputs.selection.examples
    if len(held) < FEWEST_ROWS:
        raise TrimformerError(
            f"Only {len(held)} rows are held out from train, and a search needs {FEWEST_ROWS} to choose and to confirm "
            "by: add rows, or raise task.selection."
        )
    selection, confirmation = split(held, round(len(held) * share) or 1, seed, keep=KINDS[inputs.task.kind].keep(held))
    return dataclasses.replace(inputs, selection=inputs.encoded(selection)), inputs.encoded(confirmation)


def step_down(
    found: Sequence[M], last: M, max_drop: float, confirm: Callable[[M, float | None], Confirmation]
) -> list[Confirmation]:
    """Those tried, the last of which is to be taken: the cheapest inside the budget on selection first.

    last: the dense model in fp32, which ends every search, for nothing was removed from it.
    confirm: is given a file and the level that its interval has to keep, None for the last. With k files that may be
    tried each gets a k-th of ``LEVEL`` (Bonferroni; Dunn, "Multiple Comparisons Among Means", 1961), so that it holds
    for all of them together, in any order; the k files are chosen on selection alone.
    """
    fits = [one for one in found if inside(one, max_drop) and one.price < last.price]
    tried = order(fits, max_drop)[:MOST]
    done: list[Confirmation] = []
    for one in tried:
        done.append(confirm(one, LEVEL / len(tried)))
        if done[-1].confirmed:
            return done
    return [*done, confirm(last, None)]


def confirmation(
    name: str,
    backend: str,
    metric: Metric,
    before: Outcome,
    after: Outcome,
    max_drop: float,
    *,
    sure: float | None,
    resamples: int,
) -> Confirmation:
    """Judge a file by its own answers. sure: the level at which the interval has to be inside; None: the drop is.

    The shares of right answers have an exact interval, unless rows belong together; all else has that of the bootstrap,
    which is taken to rule out nothing where nearly all answers are the same.
    """
    test = paired_test(before, after, resamples)
    drop = metric.drop(test.difference)
    fits = within(drop, max_drop)
    if sure is None:
        return Confirmation(name, backend, test, None, None, fits)
    n = test.n_examples
    rows: int | None
    if before.hits is not None and after.hits is not None and test.groups is None:
        losses, gains = int((before.hits & ~after.hits).sum()), int((after.hits & ~before.hits).sum())
        upper = 100 * exact_upper(losses, gains, n, sure)
        rows = rows_for(losses, gains, n, sure, max_drop / 100)
    elif not test.proves:
        upper, rows = math.inf, int(np.ceil(n * FEW / max(1, test.differing or 0)))
    else:
        strict = paired_test(before, after, resamples, confidence=1 - 2 * sure)
        upper = max(map(metric.drop, (strict.low, strict.high)))
        # An interval shrinks with the root of the rows.
        rows = int(np.ceil(n * ((upper - drop) / (max_drop - drop)) ** 2)) if drop < max_drop else None
    proven = within(upper, max_drop)
    return Confirmation(
        name, backend, test, upper, None if proven else rows, fits and proven
    )  # fmt: skip
