"""Which combinations are worth training."""

import dataclasses

from trimformer.search.predictor import Predicted
from trimformer.search.schedule.halving import Point
from trimformer.search.shortlist import left_behind, next_look, promising, spread, worth_exporting, worth_training
from trimformer.search.space import Combination


def point(ms, loss):
    return Predicted(Combination(1, 1, units=ms), ms, loss)


def test_the_frontier_without_the_dense_model():
    dense, better, worse, fastest = point(10, 1.0), point(5, 1.5), point(6, 2.0), point(1, 9.0)
    slower = point(12, 3.0)
    assert promising([dense, better, worse, slower, fastest], float("inf"), 8) == [fastest, better]


def test_half_of_them_are_fast_enough():
    dense, others = point(20, 0.0), [point(ms, 20 - ms) for ms in range(1, 17)]
    assert [one.price for one in promising([dense, *others], 3.5, 6)] == [1, 2, 3, 4, 10, 16]
    assert [one.price for one in promising([dense, *others], 1.5, 4)] == [1, 2, 9, 16]
    assert [one.price for one in promising([dense, *others], 15.5, 4)] == [1, 8, 15, 16]
    chosen = [one.price for one in promising([dense, *others], float("inf"), 5)]
    assert chosen == [1, 5, 8, 12, 16]


def test_few_are_not_spread():
    few = [point(1, 2), point(2, 1)]
    assert spread(few, 2) == few


def test_looks_go_by_halves_to_the_fastest_that_keeps_the_budget():
    """Ten combinations, the fastest first, of which those from the seventh on keep it."""
    found = {}
    while (index := next_look(10, found)) is not None and len(found) < 5:
        found[index] = index >= 6
    assert list(found) == [4, 7, 5, 6, 3]
    assert next_look(3, {0: True}) is None
    assert next_look(0, {}) is None
    assert next_look(24, dict.fromkeys(range(12), False)) is None


def looked(ms, drop, rungs=0):
    return Point(f"p{ms}", "", ms, "", 0.5, drop, fitted=True, rungs=rungs)


def test_what_is_faster_than_the_fastest_inside_may_be_worth_training():
    """Unless training could not win back what it loses."""
    slow, best, near, far = looked(9, 0.1), looked(6, 0.9), looked(5, 3.0), looked(2, 11.0)
    assert worth_training([slow, far, best, near], 1.0) == [best, near]
    assert worth_training([far, near], 1.0) == [near]
    assert worth_training([far, looked(2, 9.0), near, looked(4, 5.0), best], 1.0, 2) == [best, looked(4, 5.0)]
    assert worth_training([far, looked(3, 30.0)], 1.0) == [far]
    many = [looked(ms, 5.0) for ms in range(1, 10)]
    assert [one.price for one in worth_training([*many, looked(10, 0.0)], 1.0)] == [10, 1, 5, 9]
    assert [one.price for one in worth_training(many, 1.0)] == [1, 4, 6, 9]


def test_what_could_not_be_fitted_may_be_worth_training_whatever_it_loses():
    best, lost = looked(6, 0.9), looked(2, 30.0)
    assert worth_training([best, lost], 1.0) == [best]
    unfitted = dataclasses.replace(lost, fitted=False)
    assert worth_training([best, unfitted], 1.0) == [best, unfitted]


def test_without_training_the_fastest_inside_are_exported():
    inside = [looked(ms, 0.5) for ms in (9, 7, 5, 3)]
    assert [one.price for one in worth_exporting([*inside, looked(1, 2.0)], 1.0)] == [3, 5]
    assert worth_exporting([looked(1, 4.0), looked(2, 2.0)], 1.0) == [looked(2, 2.0)]


def test_who_was_left_behind_and_may_yet_win():
    """The likeliest of those that are faster than the best; nobody after all rungs."""
    done = [0.0, 1 / 3]
    best, near, far, lost = looked(6, 0.9, 2), looked(5, 2.5, 1), looked(4, 9.0), looked(3, 3.5, 1)
    assert left_behind([best, near, far, lost], 1.0, done) == near
    assert left_behind([best, far, lost], 1.0, done) == far
    assert left_behind([best, lost, looked(1, 9.0, 2), looked(8, 0.1)], 1.0, done) is None
