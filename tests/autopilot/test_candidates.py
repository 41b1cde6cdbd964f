"""Combinations, what they remove, and which are worth training."""

import pytest

from tests.autopilot.conftest import Counted
from tests.learning import context
from tests.models import tiny
from trimformer import trim
from trimformer.autopilot.candidates import Candidate, Predicted, gates_of, grid, predict, promising, spread
from trimformer.autopilot.sensitivity import Sensitivity, sensitivity
from trimformer.tasks.batches import drawn_rows
from trimformer.training.evaluate import mean_loss


def point(ms, loss):
    return Predicted(Candidate(1, "mean", 1.0, ms), ms, loss)


def test_the_dense_model_comes_first_and_everything_is_there():
    found = grid(tiny(6).config, reads_first=True)
    assert found[0].removed(6) == "nothing"
    assert len(found) == len(set(found)) == (5 + 4) * 2 * 3
    assert {one.attention for one in found} == {6, 4, 3, 2, 1}
    assert not any(one.stand_in == "none" for one in grid(tiny(6).config, reads_first=False))


def test_architectures_lose_only_what_they_can():
    assert {one.heads for one in grid(tiny(6, family="mpnet").config, True)} == {1}
    albert = grid(tiny(6, family="albert").config, True)
    assert {(one.heads, one.units) for one in albert} == {(1, 1)}


def test_what_matters_least_is_removed():
    found = Sensitivity([0.5, 0.1, 0.9], [[1.0, 2.0]] * 3, [[0.1, 0.4, 0.3, 0.2]] * 3)
    gates = gates_of(Candidate(2, "mean", 0.5, 0.5), found)
    assert (gates.attention.tolist(), gates.removed) == ([1, 0, 1], "mean")
    assert [own.tolist() for own in gates.heads] == [[0, 1], [1, 1], [0, 1]]
    assert gates.ffn[0].tolist() == [0, 1, 1, 0]
    last = gates_of(Candidate(1, "none", 1.0, 1.0), found)
    assert (last.attention.tolist(), last.removed, last.heads, last.ffn) == ([1, 0, 0], "none", None, None)
    assert Candidate(2, "mean", 0.5, 0.25).name == "a2-h50-f25"
    assert Candidate(1, "none", 0.5, 1.0).removed(3) == "attention of 2 of 3 layers (none), 50 % of the heads"


def test_the_frontier_without_the_dense_model():
    dense, better, worse, fastest = point(10, 1.0), point(5, 1.5), point(6, 2.0), point(1, 9.0)
    slower = point(12, 3.0)
    assert promising([dense, better, worse, slower, fastest], float("inf"), 8) == [fastest, better]


def test_those_that_are_fast_enough_come_first():
    dense, others = point(20, 0.0), [point(ms, 20 - ms) for ms in range(1, 17)]
    assert [one.ms for one in promising([dense, *others], 3.5, 5)] == [1, 2, 3, 4, 5]
    chosen = [one.ms for one in promising([dense, *others], float("inf"), 5)]
    assert chosen == [1, 2, 4, 8, 16]


def test_few_are_not_spread():
    few = [point(1, 2), point(2, 1)]
    assert spread(few, 2) == few


@pytest.mark.parametrize("kind", ["classification", "tokens", "spans", "multilabel", "regression"])
def test_every_kind_of_task(kind: str) -> None:
    stage = context(kind=kind, layers=2)
    found = sensitivity(stage, 12)
    assert len(found.attention) == len(found.heads) == len(found.units) == 2
    assert [len(own) for own in found.units] == [24, 24]
    assert min(map(min, found.units)) >= 0


def test_a_prediction_is_the_loss_and_the_shape_of_the_trimmed_model() -> None:
    stage = context()
    found = sensitivity(stage, 16)
    predicted = predict(stage, 16, found, Counted())
    rows = drawn_rows(len(stage.selection), 16, stage.seed)
    assert predicted[0].loss == pytest.approx(mean_loss(stage.model, stage.selection, rows=rows))
    for one in predicted[1:4]:
        trimmed = trim(stage.model, gates_of(one.candidate, found))
        assert one.loss == pytest.approx(mean_loss(trimmed, stage.selection, rows=rows), rel=1e-4)
        assert one.ms == Counted().predict(trimmed.config)


def test_predicting_ends_when_there_is_no_time() -> None:
    stage = context(layers=2)
    found = sensitivity(stage, 8)
    calls = iter([False, False, True])
    assert len(predict(stage, 8, found, Counted(), lambda: next(calls))) == 3
