"""The gradient of an architecture through the weights that it trains: DARTS's two orders.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", 2019, sections 2.3 and 2.4. An architecture α is to
lower the loss on held-out rows of the weights w* that it trains, and one step of these stands for their training:
w* ≈ w' = w - ξ ∇_w L_train(w, α). In the first order ξ is 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Loss = Callable[[], Tensor]
"""The loss of the weights and the architecture as they are now."""
Means = Callable[[list[Tensor]], list[Tensor]]
"""Gradients as means over all processes."""

LENGTH = 0.01
"""Of the steps by which the second derivative is estimated, in the space of all weights."""


def architecture_gradient(
    alphas: Sequence[Tensor],
    weights: Sequence[Tensor],
    held_out: Loss,
    train: Loss,
    rate: float,
    means: Means = lambda gradients: gradients,
) -> list[Tensor]:
    """∇_α L_held(w', α) - ξ ∇²_{α,w} L_train(w, α) ∇_{w'} L_held(w', α) with ξ = ``rate``; 0: the first order.

    The product with the second derivative is a difference of two gradients of the train loss, at w ± ε ∇_{w'} L_held
    with ε = 0.01 / |∇_{w'} L_held|. The losses must have no chance in them, such as dropout: differences between draws
    would be divided by ε. The weights are afterwards what they were, to the last bit.
    """
    if not rate:
        return means(gradients(held_out(), alphas))
    with restored(weights):
        shift(weights, means(gradients(train(), weights)), -rate)
        both = means(gradients(held_out(), [*alphas, *weights]))
    direct, towards = both[: len(alphas)], both[len(alphas) :]
    length = float(torch.stack([one.norm() for one in towards]).norm())
    if length == 0:
        return direct
    epsilon = LENGTH / length
    sides = []
    for sign in (1, -1):
        with restored(weights):
            shift(weights, towards, sign * epsilon)
            sides.append(means(gradients(train(), alphas)))
    return [
        own - rate * (plus - minus) / (2 * epsilon) for own, plus, minus in zip(direct, sides[0], sides[1], strict=True)
    ]


def gradients(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of a loss in each of these tensors, zeros where it does not depend on one."""
    found = torch.autograd.grad(loss, list(of), allow_unused=True)
    return [torch.zeros_like(one) if own is None else own for own, one in zip(found, of, strict=True)]


@torch.no_grad()
def shift(weights: Sequence[Tensor], direction: Sequence[Tensor], factor: float) -> None:
    """Add a multiple of a direction to the weights."""
    for weight, step in zip(weights, direction, strict=True):
        weight.add_(step, alpha=factor)


@contextlib.contextmanager
def restored(weights: Sequence[Tensor]) -> Iterator[None]:
    """The weights are afterwards what they were: copied, since adding and taking away again would round."""
    before = [weight.detach().clone() for weight in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, own in zip(weights, before, strict=True):
                weight.copy_(own)
