"""DARTS's gradient of an architecture: against the analytic one of small problems, and what it leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trimformer.methods.architecture import bilevel
from trimformer.methods.architecture.bilevel import architecture_gradient

torch.manual_seed(0)
A, B, C = (torch.randn(*size, dtype=torch.float64) for size in ((4, 4), (4, 3), (3, 3)))
A, C = A @ A.T + torch.eye(4), C @ C.T + torch.eye(3)
GOAL, RATE = torch.randn(4, dtype=torch.float64), 0.1


def problem() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    weights = torch.randn(4, dtype=torch.float64, requires_grad=True)
    return torch.randn(3, dtype=torch.float64, requires_grad=True), weights


def held_out(alphas: Tensor, weights: Tensor) -> Tensor:
    return 0.5 * (weights - GOAL).square().sum() + 0.5 * alphas @ C @ alphas


def quadratic(alphas: Tensor, weights: Tensor) -> Tensor:
    return 0.5 * weights @ A @ weights + weights @ B @ alphas


def found(alphas: Tensor, weights: Tensor, train: Any, rate: float) -> Tensor:
    losses = (lambda: held_out(alphas, weights)), (lambda: train(alphas, weights))
    return architecture_gradient([alphas], [weights], *losses, rate)[0]


def test_the_second_order_is_the_analytic_gradient_of_a_quadratic_problem() -> None:
    alphas, weights = problem()
    stepped = weights - RATE * (A @ weights + B @ alphas)
    analytic = C @ alphas - RATE * B.T @ (stepped - GOAL)
    torch.testing.assert_close(found(alphas, weights, quadratic, RATE), analytic.detach(), rtol=1e-9, atol=1e-9)


def test_the_first_order_takes_the_weights_as_they_are() -> None:
    alphas, weights = problem()
    torch.testing.assert_close(found(alphas, weights, quadratic, 0.0), (C @ alphas).detach())


def test_its_error_falls_with_the_square_of_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the train loss is of the fourth degree in the weights, its second derivative changes along the way."""

    def train(alphas: Tensor, weights: Tensor) -> Tensor:
        return quadratic(alphas, weights) + 0.1 * (weights**3 @ B @ alphas)

    alphas, weights = problem()
    slope = A @ weights + B @ alphas + 0.3 * weights**2 * (B @ alphas)
    towards = weights - RATE * slope - GOAL
    exact = (C @ alphas - RATE * B.T @ ((1 + 0.3 * weights**2) * towards)).detach()
    errors = []
    for length in (0.1, 0.01):
        monkeypatch.setattr(bilevel, "LENGTH", length)
        errors.append((found(alphas, weights, train, RATE) - exact).norm().item())
    assert 1e-9 < errors[1] < errors[0]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.01)


def test_epsilon_is_a_hundredth_over_the_norm_of_the_gradient() -> None:
    alphas, weights = problem()
    start, seen = weights.detach().clone(), []

    def train(alphas: Tensor, weights: Tensor) -> Tensor:
        seen.append((weights - start).norm().item())
        return quadratic(alphas, weights)

    found(alphas, weights, train, RATE)
    assert seen == [0, pytest.approx(0.01), pytest.approx(0.01)]


@pytest.mark.parametrize("fails", [False, True])
def test_the_weights_are_what_they_were_to_the_last_bit(fails: bool) -> None:
    torch.manual_seed(2)
    alphas, weights = torch.randn(3, requires_grad=True), torch.randn(1000, requires_grad=True)
    before, calls = weights.detach().clone(), []

    def train() -> Tensor:
        calls.append(weights.detach().clone())
        if fails and len(calls) == 3:
            raise ValueError("cut")
        return (weights.square() * alphas.sum()).mean()

    def run() -> None:
        architecture_gradient([alphas], [weights], lambda: (weights - 1).square().sum() + alphas.sum(), train, 0.01)

    if fails:
        with pytest.raises(ValueError, match="cut"):
            run()
    else:
        run()
    assert not any(torch.equal(seen, before) for seen in calls[1:])
    assert torch.equal(weights, before)
    assert weights.grad is None
    assert alphas.grad is None


def test_a_loss_that_no_weight_moves_leaves_the_first_order() -> None:
    alphas, weights = problem()
    own = architecture_gradient([alphas], [weights], lambda: alphas.sum(), lambda: quadratic(alphas, weights), RATE)
    torch.testing.assert_close(own[0], torch.ones_like(alphas))
