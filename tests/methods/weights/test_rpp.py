"""Reweighted proximal pruning: the proximal step, apart from Adam's moments, and the pattern that is fixed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from trimformer.methods.weights.rpp import shrunk


def steps(method: Any, stage: Any, count: int) -> None:
    for step in range(1, count + 1):
        method.micro_step(batches(stage, 6)[(step - 1) % 6], 1.0)
        method.update(step)


def test_the_fixed_point_of_a_square_is_the_soft_threshold() -> None:
    torch.manual_seed(0)
    a, gamma, rate, penalty = torch.randn(200), torch.rand(200) + 0.5, 0.3, 0.4
    w = torch.randn(200)
    for _ in range(400):
        w = shrunk(w - rate * (w - a), rate * penalty * gamma)
    wanted = a.sign() * (a.abs() - penalty * gamma).clamp(min=0)
    assert torch.equal(w == 0, wanted == 0)
    assert 0 < int((w == 0).sum()) < 200
    torch.testing.assert_close(w, wanted, atol=1e-5, rtol=0)


def test_no_moment_sees_the_penalty() -> None:
    stage = context(clip=1e9)
    method = make_method("rpp", stage, density=0.5, penalty=50.0)
    plain = make_method("magnitude", context(clip=1e9), density=0.5, begin=1.0, end=1.0)
    for each in (method, plain):
        torch.manual_seed(0)  # of the dropout
        each.micro_step(batches(stage, 1)[0], 1.0)
        each.update(1)
    for name, given in method.weights.items():
        ours = method.networks["model"].optimizer.state[given.original]
        theirs = plain.networks["model"].optimizer.state[plain.weights[name].original]
        assert torch.equal(ours["exp_avg"], theirs["exp_avg"])
        assert torch.equal(ours["exp_avg_sq"], theirs["exp_avg_sq"])
        dense = plain.weights[name].original
        rate = method.rate * 50.0 * given[0].gamma
        assert torch.equal(given.original, shrunk(dense, rate))
        assert not torch.equal(given.original, dense)


def test_gamma_is_estimated_from_time_to_time() -> None:
    stage = context(rows=80)
    method = make_method("rpp", stage, density=0.5, penalty=1e-3, estimates=2, end=0.8)  # 8 steps: at 1 and 5
    seen, gamma = [], method.weights["0.ffn_in"][0].gamma
    for step in range(1, 9):
        before = gamma.clone()
        method.micro_step(batches(stage, 6)[(step - 1) % 6], 1.0)
        method.update(step)
        if not torch.equal(before, gamma):
            seen.append(step)
    assert seen == [1, 5]


def test_the_default_penalty_alone_leaves_the_density() -> None:
    stage = context(rows=800, epochs=2, weight_decay=0.0)
    method = make_method("rpp", stage, density=0.4, estimates=10**6, epsilon=1e-4)
    for step in range(1, method.last):
        method.rate = method.networks["model"].optimizer.param_groups[0]["lr"]
        method.networks["model"].step()  # nothing has a gradient
        method.prune(step)
    assert method.density() == pytest.approx(0.4, abs=0.03)


def test_exactly_the_density_stays_and_the_pattern_is_fixed() -> None:
    stage = context(epochs=2)
    method = make_method("rpp", stage, density=0.3, end=0.5)
    steps(method, stage, 6)
    masks = {name: given[0].mask.clone() for name, given in method.weights.items()}
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int(mask.sum()) for mask in masks.values()) <= int(0.3 * total)
    steps(method, stage, 3)
    assert all(torch.equal(given[0].mask, masks[name]) for name, given in method.weights.items())
    result = method.result()
    zeros = sum(int((result.model.encoder.layers.get_submodule(name).weight == 0).sum()) for name in masks)
    assert zeros >= total - int(0.3 * total)
    assert f"λ = {method.penalty:.3g} had brought {method.zeroed:.1%} to 0" in result.notes[0]


def test_a_strong_penalty_leaves_less_than_the_density() -> None:
    stage = context()
    method = make_method("rpp", stage, density=0.9, penalty=1e3)
    steps(method, stage, 6)
    assert method.density() < 0.5
    assert method.zeroed > 0.5
