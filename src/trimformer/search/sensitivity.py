"""How much each removable part matters to the dense model, without training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ..console import Ticker
from ..encoder.gating.limits import limits
from ..encoder.model.heads import TrimformerWithHead, task_loss
from ..encoder.shape.gates import Gates
from ..methods import Context
from ..methods.structure.importance import importance_of
from ..tasks.encoding.batches import bucketed_batches, drawn_rows
from ..training.distill import logit_loss
from ..training.evaluate import evaluating

BATCH = 64

RemovalCost = Callable[[Gates], float]
"""What a removal costs on some rows."""


class Divergence:
    """How far a model with gates is from itself without: the distance of the logits that distillation takes.

    Unlike the loss it cannot fall: that of a model which is surer than it should be does, when it becomes less sure.
    """

    def __init__(self, context: Context, rows: int) -> None:
        """rows: of the selection split, in evaluation mode and without labels."""
        self.model, data, device = context.model, context.selection, context.accelerator.device
        self.model.to(device)
        self.kind = data.kind
        drawn = drawn_rows(len(data), rows, context.seed)
        order = bucketed_batches(data.lengths[drawn], BATCH, seed=0, epoch=0, shuffle=False)
        self.batches = [
            {name: value.to(device) for name, value in data.batch(drawn[indices].tolist()).items() if name != "labels"}
            for indices in order
        ]
        self.before = [_logits(self.model, batch) for batch in self.batches]

    def __call__(self, gates: Gates) -> float:
        return self.of(self.model, gates)

    def of(self, model: TrimformerWithHead, gates: Gates | None = None) -> float:
        """How far another model is from this one."""
        total, count = 0.0, 0
        for batch, before in zip(self.batches, self.before, strict=True):
            distance = logit_loss(self.kind, _logits(model, batch, gates), before, batch["attention_mask"], 1.0)
            total, count = total + len(before) * distance.item(), count + len(before)
        return total / count


def _logits(model: TrimformerWithHead, batch: dict[str, Tensor], gates: Gates | None = None) -> Tensor:
    with torch.no_grad(), evaluating(model):
        logits: Tensor = model(**batch, gates=gates).logits
    return logits


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """attention, layers: what it costs to replace the attention of one layer by its mean, and to do without one layer
    as a whole, for each layer.

    heads, units: for each layer the importance of its heads and of its feed-forward units; hidden: that of the hidden
    dimensions. first_stays: whether the encoder cannot do without its first layer.
    """

    attention: list[float]
    layers: list[float]
    heads: list[list[float]]
    units: list[list[float]]
    hidden: list[float]
    first_stays: bool = False


def sensitivity(context: Context, rows: int, cost: RemovalCost) -> Sensitivity:
    """Measure all parts of the context's model; importance is that on ``rows`` rows of the selection split."""
    device, shapes = context.accelerator.device, context.model.config.shapes
    attention: list[float] = []
    layers: list[float] = []
    with Ticker("Removing one layer after the other", 2 * len(shapes)) as tick:
        for index in range(len(shapes)):
            kept = torch.ones(len(shapes), device=device)
            kept[index] = 0
            for costs, gates in (attention, Gates(attention=kept)), (layers, Gates(layers=kept)):
                costs.append(cost(gates))
                tick.advance()
    # Of the rows that structure is chosen on.
    parts = importance_of(dataclasses.replace(context, train=context.selection), rows)
    heads, units = ([own.tolist() for own in parts[point]] for point in ("heads", "ffn"))
    hidden = hidden_importance(context, min(rows, len(context.selection))).tolist()
    return Sensitivity(attention, layers, heads, units, hidden, limits(context.model.config).first_stays is not None)


def hidden_importance(context: Context, rows: int) -> Tensor:
    """The mean over batches of |∂L/∂ξ|, where ξ is the gate of a hidden dimension, which all texts share: (hidden,)."""
    model, kind = context.model, context.selection.kind
    total, count = torch.zeros(model.config.hidden_size), 0
    with evaluating(model):
        for batch in context.sample(context.selection, rows):
            labels = batch.pop("labels")
            gate = torch.ones(len(total), device=labels.device, requires_grad=True)
            logits = model(**batch, gates=Gates(hidden=gate)).logits
            (slope,) = torch.autograd.grad(task_loss(kind, logits, labels, batch["attention_mask"]), gate)
            total, count = total + slope.abs().cpu(), count + 1
    return total / count
