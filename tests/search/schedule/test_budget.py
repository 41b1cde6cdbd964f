"""What is left of a time budget, and what fits into it."""

import math

import pytest

from trimformer.duration import seconds
from trimformer.search.schedule.budget import MARGIN, TimeBudget, epochs_within, share
from trimformer.training.loop import total_steps
from trimformer.training.settings import TrainingSettings


class FakeClock:
    now = 100.0

    def __call__(self):
        return self.now


def test_what_is_left():
    clock = FakeClock()
    budget = TimeBudget(60, spent=10, clock=clock)
    assert budget.left() == 50
    clock.now += 20
    assert budget.left() == 30
    assert budget.left(reserve=12) == 18
    assert budget.deadline(5) == 125
    clock.now += 100
    assert budget.left() == 0


def test_no_limit():
    budget = TimeBudget(None, spent=10)
    assert math.isinf(budget.left(reserve=5))
    assert budget.deadline(budget.left()) is None


def test_equal_shares_use_up_what_there_is():
    """Each training gets its part of what is left, so that what one overruns or spares falls to the others."""
    left, shares = 90.0, []
    for waiting in (2, 1, 0):
        shares.append(share(left, waiting))
        left -= 0.9 * shares[-1]
    assert shares == pytest.approx([30, 31.5, 34.65])
    assert share(-1, 3) == 0
    assert share(math.inf, 3) == math.inf


def test_who_trains_side_by_side_has_more_time():
    assert share(60, waiting=3, running=1) == 15
    assert share(60, waiting=3, running=2) == 30  # two rounds of two
    assert share(60, waiting=2, running=2) == 30  # the third one needs a round of its own
    assert share(60, waiting=1, running=2) == 60  # the other worker takes it when it is free


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("wanted", [1, 7, 12])
def test_as_many_steps_as_fit(accumulate, wanted):
    training = TrainingSettings(epochs=100, batch_size=8, accumulate=accumulate)
    epochs = epochs_within((wanted + 0.01) * 0.5 / MARGIN, 0.5, 70, training)
    assert total_steps(70, training.model_copy(update={"epochs": epochs})) == wanted


def test_one_step_at_least_and_never_more_than_the_settings_say():
    training = TrainingSettings(epochs=2, batch_size=8)
    assert total_steps(70, training.model_copy(update={"epochs": epochs_within(0, 0.5, 70, training)})) == 1
    assert epochs_within(1e6, 0.5, 70, training) == 2


@pytest.mark.parametrize(
    ("text", "expected"), [("2h", 7200), ("1h30m", 5400), ("45s", 45), ("1.5m", 90), ("1h 5s", 3605), (90, 90)]
)
def test_spans_of_time(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "2", "2 hours", "h", "1h30"])
def test_what_is_no_span_of_time(text):
    with pytest.raises(ValueError, match="is not a duration: write 2h, 45m or 1h30m"):
        seconds(text)
