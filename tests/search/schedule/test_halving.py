"""Who is trained further, and for how long."""

import pytest

from trimformer.search.schedule.halving import Point, better, done_before, epochs_of, order, promoted, rungs


def point(name, ms, drop):
    return Point(name, "", ms, "", 0.5, drop)


def test_half_of_them_until_two_are_left():
    assert rungs(8) == [8, 4, 2]
    assert rungs(5) == [5, 3, 2]
    assert (rungs(2), rungs(1), rungs(0)) == ([2], [1], [])


def test_each_rung_twice_the_epochs_of_the_one_before():
    epochs = [epochs_of(rung, 3, 7.0) for rung in range(3)]
    assert epochs == pytest.approx([1, 2, 4])
    assert epochs_of(0, 1, 7.0) == 7


def test_inside_the_budget_the_fastest_then_the_smallest_drop():
    found = [point("far", 1, 9.0), point("near", 2, 0.6), point("slow", 9, 0.1), point("quick", 4, 0.5)]
    assert [one.name for one in order(found, 0.5)] == ["quick", "slow", "near", "far"]


def test_the_untrained_stay_in_their_order():
    found = [Point(name, "", 1.0, "") for name in "bac"]
    assert order(found, 0.5) == found


def test_after_a_short_training_those_that_may_still_come_inside_go_on_too():
    assert [done_before(rung, 3) for rung in range(3)] == [0, 1 / 7, 3 / 7]
    found = [point("hopeless", 1, 4.0), point("bold", 2, 3.4), point("mid", 4, 2.0), point("safe", 8, 0.9)]
    assert [one.name for one in promoted(found, 2, 0.5, 1 / 7)] == ["safe", "bold"]
    assert [one.name for one in promoted(found, 3, 0.5, 1 / 7)] == ["safe", "bold", "mid"]
    assert [one.name for one in promoted(found, 2, 0.5, 3 / 7)] == ["safe", "mid"]
    assert [one.name for one in promoted(found, 2, 5.0, 3 / 7)] == ["hopeless", "bold"]
    assert {one.name for one in promoted(found, 9, 0.5, 0.0)} == {"hopeless", "bold", "mid", "safe"}


def test_a_training_that_does_harm_is_not_kept():
    before, harmed, worse_but_inside = point("a", 1, 0.2), point("a", 1, 8.7), point("a", 1, 0.9)
    assert better(before, harmed, 1.0) is before
    assert better(before, worse_but_inside, 1.0) is worse_but_inside
    assert better(harmed, point("a", 1, 9.0), 1.0).drop == 9.0
    assert better(Point("a", "", 1, ""), harmed, 1.0) is harmed
