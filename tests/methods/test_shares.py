"""The shares of an architecture under search, and how one candidate is chosen at each place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch

from tests.learning import context
from trimformer.methods.architecture.shares import Architecture, most, network_of, within


def test_the_first_candidate_begins_with_its_share() -> None:
    shares = Architecture([5, 1, 3], 0.8).shares()
    assert [own[0].item() for own in shares] == pytest.approx([0.8, 1.0, 0.8])
    assert shares[0][1:].tolist() == pytest.approx([0.05] * 4)
    assert Architecture([4]).shares()[0].tolist() == [0.25] * 4


def test_of_equal_shares_the_first_is_chosen() -> None:
    assert most([torch.tensor([0.4, 0.4, 0.2]), torch.tensor([0.1, 0.9])]) == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_best_of_all_that_cost_no_more(seed: int) -> None:
    torch.manual_seed(seed)
    shares = [torch.rand(3).softmax(0) for _ in range(4)]
    prices = torch.rand(4, 3) / 4

    def cost(choice: Sequence[int]) -> float:
        return float(sum(prices[place, index] for place, index in enumerate(choice)))

    every = list(itertools.product(range(3), repeat=4))
    cheapest = min(every, key=cost)
    for limit in (cost(cheapest) + 0.01, cost(cheapest) + 0.2, 2.0):
        able = [choice for choice in every if cost(choice) <= limit]
        best = max(able, key=lambda choice: sum(own[i].log().item() for own, i in zip(shares, choice, strict=True)))
        assert tuple(within(shares, cost, limit)) == best
    assert tuple(within(shares, cost, 0.0)) == cheapest
    assert within(shares, cost, 2.0) == most(shares)


def test_where_costs_do_not_add_up_the_choice_itself_is_within() -> None:
    """A second removal saves less than the first, as behind a head that reads the first token."""

    def cost(choice: Sequence[int]) -> float:
        return [1.0, 0.6, 0.5, 0.45][sum(choice)]

    chosen = within([torch.tensor([0.6, 0.4])] * 3, cost, 0.5)
    assert cost(chosen) <= 0.5
    assert sum(chosen) == 2


def test_alphas_learn_with_the_published_adam_faster_in_short_stages() -> None:
    stage = context()
    found = network_of(Architecture([2]), stage, None).optimizer.param_groups
    assert {(group["lr"], group["betas"], group["weight_decay"]) for group in found} == {
        (10 / stage.steps, (0.5, 0.999), 0.0)
    }
    assert network_of(Architecture([2]), stage, 0.02).optimizer.param_groups[0]["lr"] == 0.02
