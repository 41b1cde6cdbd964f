"""Which combinations are worth training."""

from trimformer.search.predictor import Predicted
from trimformer.search.shortlist import promising, spread
from trimformer.search.space import Combination


def point(ms, loss):
    return Predicted(Combination(1, 1, units=ms), ms, loss)


def test_the_frontier_without_the_dense_model():
    dense, better, worse, fastest = point(10, 1.0), point(5, 1.5), point(6, 2.0), point(1, 9.0)
    slower = point(12, 3.0)
    assert promising([dense, better, worse, slower, fastest], float("inf"), 8) == [fastest, better]


def test_half_of_them_are_fast_enough():
    dense, others = point(20, 0.0), [point(ms, 20 - ms) for ms in range(1, 17)]
    assert [one.ms for one in promising([dense, *others], 3.5, 6)] == [1, 2, 3, 4, 10, 16]
    assert [one.ms for one in promising([dense, *others], 1.5, 4)] == [1, 2, 9, 16]
    assert [one.ms for one in promising([dense, *others], 15.5, 4)] == [1, 8, 15, 16]
    chosen = [one.ms for one in promising([dense, *others], float("inf"), 5)]
    assert chosen == [1, 5, 8, 12, 16]


def test_few_are_not_spread():
    few = [point(1, 2), point(2, 1)]
    assert spread(few, 2) == few
