"""Combinations, what they remove, and which are worth training."""

import pytest
import torch

from tests.learning import context
from tests.models import tiny
from tests.search.conftest import Counted
from trimformer import trim
from trimformer.encoder.shape.gates import Gates
from trimformer.search.candidates import (
    Candidate,
    Predicted,
    Tables,
    gates_of,
    predict,
    promising,
    removable_shares,
    spread,
    structures,
    widths,
)
from trimformer.search.sensitivity import Divergence, Sensitivity, sensitivity
from trimformer.tasks.batches import drawn_rows
from trimformer.training.evaluate import predict_logits


def point(ms, loss):
    return Predicted(Candidate(1, 1, units=ms), ms, loss)


def test_the_dense_model_comes_first_and_everything_is_there():
    found = structures(6, reads_first=True)
    assert found[0] == Candidate(6, 6)
    assert found[0].removed(6) == "nothing"
    # With 6, 4 and 3 layers: all numbers of attention layers with a mean, and fewer than all with nothing.
    assert len(found) == len(set(found)) == (5 + 4) + (4 + 3) + (3 + 2)
    assert {(one.layers, one.attention) for one in found if one.stand_in == "mean"} == {
        *((6, 6), (6, 4), (6, 3), (6, 2), (6, 1), (4, 4), (4, 3), (4, 2), (4, 1), (3, 3), (3, 2), (3, 1)),
    }
    assert not any(one.stand_in == "none" for one in structures(6, reads_first=False))


def test_architectures_lose_only_what_they_can():
    every = {"heads": (1.0, 0.5), "units": (1.0, 0.5, 0.25), "width": (1.0, 0.75)}
    assert removable_shares(tiny(6).config) == every
    assert removable_shares(tiny(6, family="mpnet").config) == every | {"heads": (1.0,)}
    assert removable_shares(tiny(6, family="albert").config) == every | {"heads": (1.0,), "units": (1.0,)}
    assert removable_shares(tiny(6, family="deberta-v2").config) == every | {"width": (1.0,)}


def test_what_matters_least_is_removed():
    found = Sensitivity(
        [0.5, 0.1, 0.9], [0.3, 0.9, 0.8], [[1.0, 2.0]] * 3, [[0.1, 0.4, 0.3, 0.2]] * 3, [3.0, 1.0, 2.0, 4.0]
    )
    gates = gates_of(Candidate(3, 2, "mean", 0.5, 0.5), found)
    assert (gates.attention.tolist(), gates.removed, gates.layers) == ([1, 0, 1], "mean", None)
    assert [own.tolist() for own in gates.heads] == [[0, 1], [1, 1], [0, 1]]
    assert gates.ffn[0].tolist() == [0, 1, 1, 0]
    last = gates_of(Candidate(3, 1, "none"), found)
    assert (last.attention.tolist(), last.removed) == ([1, 0, 0], "none")
    assert (last.heads, last.ffn, last.hidden) == (None, None, None)
    assert gates_of(Candidate(3, 3, width=0.75), found).hidden.tolist() == [1, 0, 1, 1]


def test_attention_is_removed_from_layers_that_stay():
    found = Sensitivity([0.5, 0.1, 0.9], [0.3, 0.9, 0.8], [[1.0, 2.0]] * 3, [[0.1, 0.4]] * 3, [1.0])
    gates = gates_of(Candidate(2, 1), found)
    assert (gates.layers.tolist(), gates.attention.tolist()) == ([0, 1, 1], [1, 0, 1])
    assert gates_of(Candidate(2, 1, "none"), found).attention.tolist() == [1, 1, 0]


def test_names():
    assert Candidate(6, 2, "mean", 0.5, 0.25, 0.75).name == "l6-a2-h50-f25-w75"
    assert Candidate(3, 3, width=0.75).removed(3) == "25 % of the hidden dimensions"
    assert Candidate(2, 1, "none", 0.5).removed(3) == (
        "1 of 3 layers, attention of 1 of 2 layers (none), 50 % of the heads"
    )


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


@pytest.mark.parametrize("kind", ["classification", "tokens", "spans", "multilabel", "regression"])
def test_every_kind_of_task(kind: str) -> None:
    stage = context(kind=kind, layers=2)
    found = sensitivity(stage, 12, Divergence(stage, 12))
    assert len(found.attention) == len(found.layers) == len(found.heads) == len(found.units) == 2
    assert min(found.attention + found.layers) > 0
    assert [len(own) for own in found.units] == [24, 24]
    assert min(map(min, found.units)) >= 0


def test_divergence_is_that_of_the_probabilities() -> None:
    stage = context(layers=2)
    gates = Gates(layers=torch.tensor([1.0, 0.0]))
    rows = drawn_rows(len(stage.selection), 10, stage.seed)
    before, after = (
        torch.from_numpy(predict_logits(stage.model, stage.selection, gates=own)[rows]).log_softmax(-1)
        for own in (None, gates)
    )
    expected = (before.exp() * (before - after)).sum(1).mean()
    cost = Divergence(stage, 10)
    assert cost(gates) == pytest.approx(expected.item(), rel=1e-3)
    assert cost(Gates()) == pytest.approx(0, abs=1e-6)


def test_a_prediction_is_the_shape_of_the_trimmed_model_and_the_cost_of_its_parts() -> None:
    stage = context()
    cost = Divergence(stage, 16)
    found = sensitivity(stage, 16, cost)
    predicted = {one.candidate: one for one in predict(stage, found, cost, Tables([Counted()]))}
    dense, structure, units, width, all_three = (
        Candidate(3, 3), Candidate(2, 1), Candidate(3, 3, units=0.5), Candidate(3, 3, width=0.75),
        Candidate(2, 1, units=0.5, width=0.75),
    )  # fmt: skip
    assert next(iter(predicted)) == dense
    costs = {one: cost(gates_of(one, found)) for one in (dense, structure, units, width)}
    for one, expected in costs.items():
        assert predicted[one].cost == pytest.approx(expected, abs=1e-6)
    assert predicted[all_three].cost == pytest.approx(sum(costs.values()), rel=1e-4)
    for one in (dense, structure, units, width, all_three):
        assert predicted[one].ms == Counted().predict(trim(stage.model, gates_of(one, found)).config)


def test_the_first_layer_of_a_pre_norm_encoder_stays() -> None:
    stage = context(layers=3, family="modernbert")
    found = sensitivity(stage, 8, Divergence(stage, 8))
    assert all(gates_of(Candidate(count, 1), found).layers[0] == 1 for count in (1, 2))


def test_predicting_ends_when_there_is_no_time() -> None:
    stage = context(layers=2)
    cost = Divergence(stage, 8)
    calls = iter([False, False, True])
    predicted = predict(stage, sensitivity(stage, 8, cost), cost, Tables([Counted()]), lambda: next(calls))
    assert len({(one.candidate.layers, one.candidate.attention) for one in predicted}) == 3


@pytest.mark.parametrize("family", ["albert", "mpnet", "deberta-v2", "modernbert"])
def test_every_candidate_of_every_family_can_be_trimmed(family: str) -> None:
    stage = context(layers=2, family=family)
    cost = Divergence(stage, 4)
    found = sensitivity(stage, 4, cost)
    predicted = predict(stage, found, cost, Tables([Counted()]))
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
