"""The predicted time and cost of combinations."""

import pytest

from tests.learning import context
from tests.search.conftest import Counted
from trimformer import trim
from trimformer.search.candidates import _left
from trimformer.search.predictor import Predicted, Tables, predict, scaled
from trimformer.search.sensitivity import Divergence, sensitivity
from trimformer.search.space import Combination, gates_of, widths


def test_a_prediction_is_the_shape_of_the_trimmed_model_and_the_cost_of_its_parts() -> None:
    stage = context()
    cost = Divergence(stage, 16)
    found = sensitivity(stage, 16, cost)
    predicted = {one.combination: one for one in predict(stage, found, cost, Tables([Counted()]), left={})}
    dense, structure, units, width, all_three = (
        Combination(3, 3), Combination(2, 1), Combination(3, 3, units=0.5), Combination(3, 3, width=0.75),
        Combination(2, 1, units=0.5, width=0.75),
    )  # fmt: skip
    assert next(iter(predicted)) == dense
    costs = {one: cost(gates_of(one, found)) for one in (dense, structure, units, width)}
    for one, expected in costs.items():
        assert predicted[one].cost == pytest.approx(expected, abs=1e-6)
    assert predicted[all_three].cost == pytest.approx(sum(costs.values()), rel=1e-4)
    for one in (dense, structure, units, width, all_three):
        assert predicted[one].price == Counted().predict(trim(stage.model, gates_of(one, found)).config)


def test_what_is_left_after_fitting_counts() -> None:
    stage = context()
    cost = Divergence(stage, 16)
    found = sensitivity(stage, 16, cost)
    tables = Tables([Counted()])
    whole, fitted = (
        {one.combination: one.cost for one in predict(stage, found, cost, tables, left=left)}
        for left in ({}, {"attention": 0.5, "units": 0.25})
    )
    structure, units, fewer = Combination(3, 2), Combination(3, 3, units=0.5), Combination(2, 1)
    assert fitted[structure] == pytest.approx(0.5 * whole[structure])
    assert fitted[units] == pytest.approx(0.25 * whole[units])
    assert fitted[fewer] == whole[fewer]  # of which nothing can be fitted
    assert set(left := _left(stage, found, cost, 64)) == {"attention", "heads", "units"}
    assert 0 < left["units"] < 1


def test_predicting_ends_when_there_is_no_time() -> None:
    stage = context(layers=2)
    cost = Divergence(stage, 8)
    calls = iter([False, False, True])
    found = sensitivity(stage, 8, cost)
    predicted = predict(stage, found, cost, Tables([Counted()]), lambda: next(calls), left={})
    assert len({(one.combination.layers, one.combination.attention) for one in predicted}) == 3


@pytest.mark.parametrize("family", ["albert", "mpnet", "deberta-v2", "modernbert"])
def test_every_candidate_of_every_family_can_be_trimmed(family: str) -> None:
    stage = context(layers=2, family=family)
    cost = Divergence(stage, 4)
    found = sensitivity(stage, 4, cost)
    predicted = predict(stage, found, cost, Tables([Counted()]), left=_left(stage, found, cost, 8))
    assert len(predicted) > 2
    assert all(one.cost >= 0 for one in predicted)


def test_a_table_for_each_width() -> None:
    stage = context(layers=2)
    found = sensitivity(stage, 8, Divergence(stage, 8))
    configs = [trim(stage.model, gates).config for gates in widths(stage.model.config, found)]
    size = stage.model.config.hidden_size
    assert [config.hidden_size for config in configs] == [size, round(0.75 * size)]

    class Table(Counted):
        def __init__(self, config, ms):
            self.config, self.ms = config, ms

        def fits(self, config):
            return config.hidden_size == self.config.hidden_size

        def predict(self, layers):
            return self.ms

    tables = Tables([Table(config, ms) for config, ms in zip(configs, (5.0, 3.0), strict=True)])
    assert [tables.predict(config) for config in reversed(configs)] == [3.0, 5.0]


def test_times_are_scaled_to_the_measured_one_of_the_dense_model() -> None:
    dense, half = Predicted(Combination(4, 4), 8.0, 0.0), Predicted(Combination(2, 2), 4.0, 0.5)
    assert scaled([dense, half], 3.0) == [
        Predicted(dense.combination, 3.0, 0.0), Predicted(half.combination, 1.5, 0.5),
    ]  # fmt: skip
