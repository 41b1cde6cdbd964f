"""Thin maps that are the best for the inputs that a map has: errors count where inputs lie.

Chen et al., "DRONE: Data-aware Low-rank Compression for Large NLP Models", 2021: of all products of a rank that is
sought for which Σ ‖W x - W_r x‖² over inputs x is least. With S Sᵀ the mean of x xᵀ that is ‖(W - W_r) S‖², so that the
best W_r S is that of the singular value decomposition of W S.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.linear.low_rank import decomposed
from ...training.evaluate import evaluating

HELD = 0.01
"""Of the mean square of an input: so much is added to all, so that no direction counts for nothing."""

Moments = dict[nn.Module, Tensor]
"""For each map the mean of x xᵀ over its inputs, (inputs, inputs), fp64."""


def second_moments(
    model: TrimformerWithHead, maps: Iterable[nn.Module], batches: Sequence[dict[str, Tensor]]
) -> Moments:
    """Of the inputs that maps have in the passes of batches, without padding; of those only that have some."""
    sums: Moments = {}
    counts: dict[nn.Module, int] = {}
    with torch.no_grad(), evaluating(model), contextlib.ExitStack() as hooks:
        mask = torch.empty(0)

        def add(module: nn.Module, given: tuple[Any, ...]) -> None:
            rows = inputs_of(given[0], mask).double()
            sums[module] = sums.get(module, 0) + (rows.T @ rows).cpu()
            counts[module] = counts.get(module, 0) + len(rows)

        for module in set(maps):
            hooks.enter_context(removed(module.register_forward_pre_hook(add)))
        for batch in batches:
            mask = batch["attention_mask"].bool()
            model(**{name: value for name, value in batch.items() if name != "labels"})
    return {module: found / counts[module] for module, found in sums.items() if counts[module]}


def inputs_of(x: Tensor, mask: Tensor) -> Tensor:
    """The inputs (rows, dimensions) of real tokens. mask: (batch, n); a map may read only the first tokens, or none."""
    if x.ndim == 3 and len(x) == len(mask) and x.shape[1] <= mask.shape[1]:
        return x[mask[:, : x.shape[1]]]
    return x.flatten(0, -2)


@contextlib.contextmanager
def removed(handle: Any) -> Iterator[None]:
    """A hook that is removed at the end."""
    try:
        yield
    finally:
        handle.remove()


def root_of(moment: Tensor) -> tuple[Tensor, Tensor]:
    """S with S Sᵀ = the moment and what is added to it, and the inverse of S; both fp64."""
    values, vectors = torch.linalg.eigh(moment)
    root = (values.clamp(min=0) + HELD * moment.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)).sqrt()
    return vectors * root, (vectors / root).T


def decomposed_for(weight: Tensor, rank: int, moment: Tensor | None) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """(rank, inputs) and (outputs, rank), and the squared error that counts, with that of no map at all.

    moment: see :data:`Moments`; None: all inputs count alike.
    """
    root, inverse = (None, None) if moment is None else root_of(moment)
    wide = weight.double() if root is None else weight.double() @ root
    first, second = decomposed(wide, rank)
    error = wide - second @ first
    first = first if inverse is None else first @ inverse
    return first.to(weight.dtype), second.to(weight.dtype), (float(error.square().sum()), float(wide.square().sum()))
