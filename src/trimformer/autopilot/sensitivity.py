"""How much each removable part matters to the dense model, without training."""

from __future__ import annotations

import dataclasses

import torch

from ..console import Ticker
from ..encoder.gates import Gates
from ..methods import Context
from ..methods.importance import Importance, ImportanceSettings
from ..tasks.batches import drawn_rows
from ..training.evaluate import mean_loss

ROWS = 512
"""Of the selection split, for all that is estimated before training."""


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """attention, layers: the task loss with the attention of one layer replaced by its mean, and without one layer as a
    whole, for each layer.

    heads, units: for each layer the importance of its heads and of its feed-forward units.
    """

    attention: list[float]
    layers: list[float]
    heads: list[list[float]]
    units: list[list[float]]


def sensitivity(context: Context, rows: int) -> Sensitivity:
    """Of all parts of the context's model, on so many rows of the selection split."""
    device, shapes = context.accelerator.device, context.model.config.shapes
    model, drawn = context.model.to(device), drawn_rows(len(context.selection), rows, context.seed)
    attention: list[float] = []
    layers: list[float] = []
    with Ticker("Removing one layer after the other", 2 * len(shapes)) as tick:
        for index in range(len(shapes)):
            kept = torch.ones(len(shapes), device=device)
            kept[index] = 0
            for losses, gates in (attention, Gates(attention=kept)), (layers, Gates(layers=kept)):
                losses.append(mean_loss(model, context.selection, rows=drawn, gates=gates, device=device))
                tick.advance()
    if model.config.pre_norm:
        layers[0] = max(layers)  # it has to stay
    # Not to decide anything: only its estimate is wanted, and of the rows that structure is chosen on.
    method = Importance(
        ImportanceSettings(keep_layers=0, rows=rows), dataclasses.replace(context, train=context.selection)
    )
    parts = method.estimate(
        {"heads": [torch.ones(s.heads) for s in shapes], "ffn": [torch.ones(s.ffn) for s in shapes]}
    )
    return Sensitivity(attention, layers, *([own.tolist() for own in parts[point]] for point in ("heads", "ffn")))
