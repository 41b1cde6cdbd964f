"""Thin maps by the inputs that a map has: the least error on these, and the plain ones where all inputs count alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.learning import context, make_method
from tests.models import FAMILY_NAMES
from trimformer.encoder.parts.linear.low_rank import decomposed
from trimformer.methods.weights import activation_aware
from trimformer.methods.weights.activation_aware import decomposed_for, inputs_of, second_moments
from trimformer.methods.weights.low_rank import Plan, dense_maps, made_thin


@pytest.fixture
def nothing_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation_aware, "HELD", 0.0)


def uneven(rows: int = 500, size: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.randn(rows, size, generator=generator, dtype=torch.float64) @ (mixed * torch.logspace(0, -2, size))


@pytest.mark.usefixtures("nothing_added")
@pytest.mark.parametrize("rank", [1, 4, 9])
def test_no_map_of_the_rank_has_a_smaller_error_on_the_inputs(rank: int) -> None:
    x, weight = uneven(), torch.randn(10, 12, dtype=torch.float64)
    first, second, (error, whole) = decomposed_for(weight, rank, x.T @ x / len(x))
    wanted = torch.linalg.svdvals(x @ weight.T).square() / len(x)  # of the outputs: no rank comes nearer to these
    assert error == pytest.approx(float(wanted[rank:].sum()), rel=1e-6)
    assert whole == pytest.approx(float(wanted.sum()), rel=1e-6)
    found = (x @ (weight - second @ first).T).square().sum() / len(x)
    assert float(found) == pytest.approx(error, rel=1e-6)
    plain_first, plain_second = decomposed(weight, rank)
    plain = (x @ (weight - plain_second @ plain_first).T).square().sum() / len(x)
    assert found < plain
    assert first.shape == (rank, 12)


def test_inputs_that_count_alike_give_the_plain_maps() -> None:
    weight = torch.randn(10, 12)
    alike, none = (decomposed_for(weight, 4, moment) for moment in (3 * torch.eye(12).double(), None))
    torch.testing.assert_close(alike[1] @ alike[0], none[1] @ none[0])
    assert alike[2][0] / alike[2][1] == pytest.approx(none[2][0] / none[2][1])
    plain = decomposed(weight, 4)
    torch.testing.assert_close(none[1] @ none[0], plain[1] @ plain[0])


def test_a_direction_that_no_input_has_is_no_division_by_zero() -> None:
    x = uneven()
    x[:, 3] = 0
    first, second, _ = decomposed_for(torch.randn(10, 12), 12, x.T @ x)
    assert (second @ first).isfinite().all()
    first, second, _ = decomposed_for(torch.randn(10, 12), 3, torch.zeros(12, 12).double())
    assert (second @ first).isfinite().all()


def test_padding_does_not_count() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()
    x = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(inputs_of(x, mask), torch.stack([x[0, 0], x[0, 1], x[1, 0]]))
    assert torch.equal(inputs_of(x[:, :1], mask), x[:, 0])  # where only the first tokens are asked for
    assert torch.equal(inputs_of(x[:, 0], mask), x[:, 0])  # one vector of a text


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_map_of_a_layer_is_seen_and_nothing_is_left_behind(family: str) -> None:
    stage = context(family=family, rows=16)
    maps = [
        stage.model.encoder.layers[each.layer].get_submodule(each.name) for each in dense_maps(stage.model.config, None)
    ]
    found = second_moments(stage.model, maps, list(stage.sample(stage.train, 16)))
    assert set(found) == set(maps)
    assert not any(module._forward_pre_hooks for module in maps)
    for module, moment in found.items():
        torch.testing.assert_close(moment, moment.T)
        assert moment.shape == (module.in_features,) * 2


@pytest.mark.parametrize("kind", ["tokens", "spans", "masked-lm", "embedding"])
def test_the_outputs_are_nearer_than_those_of_plain_maps(kind: str) -> None:
    """Of the first layer, whose inputs are those of the dense model in both."""
    stage = context(kind=kind, rows=48)
    plan = Plan(dense_maps(stage.model.config, ["attention.value"])[:1], 4)
    sample = list(stage.sample(stage.train, 48))
    dense: Any = stage.model.encoder.layers[0].get_submodule("attention.value")
    moment = second_moments(stage.model, [dense], sample)[dense]

    def error(batches: Any) -> float:
        thin = made_thin(stage.model, plan, batches)[0].encoder.layers[0].get_submodule("attention.value")
        rest = (dense.weight - thin.weight).detach().double()
        return float((rest @ moment @ rest.T).trace())

    assert error(sample) < error([])


def test_the_report_says_what_was_lost_and_by_what_it_counts() -> None:
    method = make_method("low-rank", context(rows=24), target=0.5, length=9, rows=16)
    assert "of their squared outputs on 16 training rows before training." in method.notes()[0]
    plain = make_method("low-rank", context(rows=24), target=0.5, length=9)
    assert "of the squared singular values before training." in plain.notes()[0]
