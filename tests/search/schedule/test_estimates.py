"""What the rest of a search takes, from what its dense model took."""

from __future__ import annotations

import dataclasses

import pytest

from trimformer.search.schedule.estimates import Estimates

# Six measurements of 10 s each: two references and four files; 20 texts in a second.
TOOK = Estimates(seconds=60, backends=6, files=4, speed=20, selection=100, learned=400)


@pytest.mark.parametrize(
    ("points", "measurements"),
    [(0, 4 + 3), (1, 4 + 3), (2, 2 * 4 + 3), (5, 2 * 4 + 3 + 3)],
)
def test_the_two_fastest_are_made_in_all_files_and_the_others_in_fp32(points: int, measurements: int) -> None:
    assert TOOK.ending(points) == pytest.approx(10 * measurements)


def test_exits_take_more_files_and_a_fifth_of_a_pass_for_each_model() -> None:
    early = dataclasses.replace(TOOK, exits=2)
    assert early.measuring(2) - TOOK.measuring(2) == pytest.approx(10 * 2 * 2)
    assert early.ending(2) - early.measuring(2) == pytest.approx(2 * 400 / 20 / 5)
    assert TOOK.ending(2) == TOOK.measuring(2)


def test_a_training_takes_longer_than_two_scorings() -> None:
    assert TOOK.training == pytest.approx(2 * 100 / 20)


@pytest.mark.parametrize(("seconds", "count"), [(0, 2), (89, 2), (90, 3), (120, 4), (float("inf"), 4)])
def test_half_an_epoch_for_each_candidate(seconds: float, count: int) -> None:
    """Of 400 rows an epoch takes three passes at 20 rows in a second, 60 s; half of it 30."""
    assert TOOK.trainings(seconds, most=4) == count
