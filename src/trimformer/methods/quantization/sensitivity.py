"""How sensitive the loss is to small changes of weights: the largest eigenvalue of the Hessian block of each group.

Power iteration with products of Hessian and vector, which need no Hessian (Pearlmutter, "Fast Exact Multiplication by
the Hessian", 1994). Shen et al., "Q-BERT: Hessian Based Ultra Low Precision Quantization of BERT", 2020, rank layers by
Ω = |mean of λ| + standard deviation of λ over parts of the data: a layer counts as well that only some parts need.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...console import Ticker
from ...encoder.model.heads import task_loss
from ...training.evaluate import evaluating
from ..base import Context

ROUNDS = 20
CLOSE = 0.01
"""Of an eigenvalue: where a round changes it by a smaller share it is found."""


def sensitivities(context: Context, groups: Sequence[Sequence[Tensor]], rows: int) -> list[float]:
    """Ω of each group of the model's weights, on so many rows of the training split; each batch of them is a part."""
    model = context.model.to(context.accelerator.device)
    batches = list(context.sample(context.train, rows))
    found = []
    # The faster kernels of attention have no second derivative.
    with evaluating(model), sdpa_kernel(SDPBackend.MATH), Ticker("Estimating sensitivity", len(batches)) as tick:
        for batch in batches:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            logits = model(**inputs).logits
            loss = task_loss(context.task.kind, logits, batch["labels"], batch["attention_mask"])
            found.append(largest_eigenvalues(loss, groups, context.seed))
            tick.advance()
    return [omega(torch.tensor(values)) for values in zip(*found, strict=True)]


def omega(eigenvalues: Tensor) -> float:
    """|mean| + standard deviation."""
    return float(eigenvalues.mean().abs() + eigenvalues.std(correction=0))


def largest_eigenvalues(loss: Tensor, groups: Sequence[Sequence[Tensor]], seed: int) -> list[float]:
    """The eigenvalue of largest size of each diagonal block of a loss's Hessian, that of a group of weights."""
    generator, found = torch.Generator().manual_seed(seed), []
    weights = [weight for group in groups for weight in group]
    gradients = iter(torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True))
    for group in groups:
        own = [next(gradients) for _ in group]
        if not any(gradient.requires_grad for gradient in own):  # the loss does not bend here
            found.append(0.0)
            continue
        vector = [torch.randn(weight.shape, generator=generator).to(weight) for weight in group]
        value, last = 0.0, float("nan")
        for _ in range(ROUNDS):
            size = sum(float(part.square().sum()) for part in vector) ** 0.5
            if not size:  # the loss does not bend here
                break
            vector = [part / size for part in vector]
            product = torch.autograd.grad(own, group, vector, retain_graph=True, materialize_grads=True)
            value = sum(float((part * moved).sum()) for part, moved in zip(vector, product, strict=True))
            if abs(value - last) <= CLOSE * abs(value):
                break
            vector, last = list(product), value
        found.append(value)
    return found
