"""What is left of a time budget, and what fits into it."""

import math

import pytest

from trimformer.autopilot.budget import MARGIN, TimeBudget, epochs_within
from trimformer.duration import seconds
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
    clock = FakeClock()
    budget = TimeBudget(90, clock=clock)
    for rungs_left, models in ((3, 4), (2, 2), (1, 2)):
        for left in range(models, 0, -1):
            clock.now += 0.9 * budget.left() / rungs_left / left
    assert 0 < budget.left() < 10


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
    with pytest.raises(ValueError, match="is no span of time: write 2h, 45m or 1h30m"):
        seconds(text)
