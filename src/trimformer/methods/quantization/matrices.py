"""The matrices of a model, for methods that write them in fewer bits without training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...encoder.model.heads import TrimformerWithHead

FEW = 1024
"""A matrix of fewer weights stays as it is, for its dictionary or scales would be as large."""


class Matrix(NamedTuple):
    """weight: of two dimensions or more. table: whether its rows are looked up, as those of the word table are."""

    name: str
    weight: nn.Parameter
    table: bool


def matrices(model: TrimformerWithHead) -> Iterator[Matrix]:
    """The matrices of a model, each once, without small ones and the last map of the head."""
    for name, weight in model.named_parameters():
        place = name.rpartition(".")[0]
        if weight.ndim > 1 and weight.numel() >= FEW and place != "head.output":
            yield Matrix(name, weight, isinstance(model.get_submodule(place), nn.Embedding))


def changed(model: TrimformerWithHead, change: Callable[[Matrix], Tensor | None]) -> TrimformerWithHead:
    """A copy on the CPU with other matrices in the place of its own; None: it stays as it is."""
    copied = copy.deepcopy(model).cpu()
    with torch.no_grad():
        for matrix in matrices(copied):
            if (new := change(matrix)) is not None:
                matrix.weight.copy_(new)
    return copied


SAME_TIME = (
    "The file is smaller and the time is the same: weights are unpacked to fp32 when the model is loaded, and exported "
    "files are written from these."
)
