"""First-order importance: heads, feed-forward units and attention layers whose removal would change the loss least go.

The importance of a part is the mean over texts of |∂L/∂ξ|, where L is the loss of the text and ξ the gate of the part.
Each text counts by its absolute value: the absolute value of a mean gradient would be smaller where texts disagree.
For heads see Michel, Levy and Neubig, "Are Sixteen Heads Really Better than One?", 2019. For a unit ∂L/∂ξ is w ∂L/∂w,
summed over the weights w out of the unit, by which DynaBERT (Hou et al., 2020) ranks.

Down to a cost heads and units of all layers are compared by their importance for what they cost (Molchanov et al.,
"Pruning Convolutional Neural Networks for Resource Efficient Inference", 2017, section 2.2, weigh FLOPs likewise).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...console import Ticker
from ...encoder.gating.limits import limits
from ...encoder.model.heads import Kind, TrimformerWithHead, task_loss
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import StandIn
from ...encoder.shape.points import POINTS
from ...errors import TrimformerError
from ...training.evaluate import evaluating
from ..base import Context, Method, register, worded
from ..expected import shape_keeping
from .cost import CostSettings, ExpectedCost, check_cost

Parts = dict[str, list[Tensor]]
"""For each gate point one tensor for each layer: (1,) for attention, (heads,), (units,)."""


class ImportanceSettings(CostSettings):
    """Settings of importance."""

    name: Literal["importance"] = "importance"
    target: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of the cost of the dense layers that stays, in place of shares of heads and units",
    )
    heads: float = Field(1.0, gt=0, le=1, description="share of the heads of all layers that stays")
    ffn: float = Field(1.0, gt=0, le=1, description="share of the units of each feed-forward block that stays")
    keep_layers: int | None = Field(None, ge=0, description="attention layers that stay; none: all")
    replace_by: StandIn = Field("mean", description="what a layer that loses its attention becomes")
    rows: int = Field(1000, ge=1, description="rows of the training split that importance is estimated on")
    rounds: int = Field(1, ge=1, description="parts of the removal, each after a new estimate with the others gone")

    @property
    def label(self) -> str:
        return worded(self.name, keep=self.keep_layers, replace_by=self.replace_by)


@register
class Importance(Method):
    """Remove what is of least importance for the loss."""

    name = "importance"
    Settings = ImportanceSettings
    example = {"keep_layers": 1, "ffn": 0.5}  # noqa: RUF012  (never written to)
    trains = False

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.rows = min(settings.rows, len(context.train))
        self.scores: Parts = {}  # of the last round

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        shares = settings.keep_layers is not None or min(settings.heads, settings.ffn) < 1
        if settings.target is not None:
            if shares:
                raise TrimformerError("target finds the shares itself: leave heads, ffn and keep_layers out.")
            check_cost(settings, config)
        elif not shares:
            raise TrimformerError(
                "importance has nothing to remove: set heads or ffn below 1, or keep_layers, or a target."
            )
        for point in ("heads", "ffn"):
            if settings.target is not None or getattr(settings, point) < 1:
                limits(config).require(point, f"leave {point} at 1 and set keep_layers")

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        left = shape_keeping(super().after(settings, config), settings.keep_layers, settings.replace_by)
        return left.with_shapes([dataclasses.replace(s, ffn=round(settings.ffn * s.ffn)) for s in left.shapes])

    def decide(self) -> Gates:
        if self.settings.target is not None:
            return self.gates(self.to_cost())
        settings, shapes = self.settings, self.model.config.shapes
        kept: Parts = {}
        if settings.keep_layers is not None:
            kept["attention"] = [torch.ones(1) for _ in shapes]
        if settings.heads < 1:
            kept["heads"] = [torch.ones(size) for size in POINTS["heads"].sizes(self.model.config)]
        if settings.ffn < 1:
            kept["ffn"] = [torch.ones(size) for size in POINTS["ffn"].sizes(self.model.config)]
        for done in range(1, settings.rounds + 1):
            scores = self.estimate(kept)
            kept = {point: self.best(point, scores[point], kept[point], done / settings.rounds) for point in kept}
            self.scores = scores
        gates = self.gates(kept)
        return gates if gates.attention is None else gates.replace(attention=gates.attention.flatten())

    def to_cost(self) -> Parts:
        """The heads and units of all layers that stay, where those go first that matter least for what they cost.

        In rounds the target falls from 1 in equal steps.
        """
        cost, settings = ExpectedCost(self.settings, self.context), self.settings
        kept = every_part(self.model.config)
        saved = {point: savings(cost, point, kept) for point in kept}
        for done in range(1, settings.rounds + 1):
            self.scores = self.estimate(kept)
            worth = {
                point: [own / gain for own, gain in zip(self.scores[point], saved[point], strict=True)]
                for point in kept
            }
            target = 1 - (1 - settings.target) * done / settings.rounds
            kept = fitted(cost, worth, kept, target)
        self.left = f"{cost.share(self.gates(kept)).item():.3f} of the dense layers' {cost} stay"
        return kept

    def estimate(self, kept: Parts) -> Parts:
        """The importance of all parts where only these are left; 0 for those that are gone."""
        model = self.model.to(self.context.accelerator.device)
        total = {point: [torch.zeros_like(gate) for gate in given] for point, given in kept.items()}
        batches = -(-self.rows // self.context.training.batch_size)
        with evaluating(model), Ticker("Estimating importance", batches) as tick:
            for batch in self.context.sample(self.context.train, self.rows):
                tick.advance()
                for point, given in self.gradients(model, batch, kept).items():
                    for sums, gradient, gate in zip(total[point], given, kept[point], strict=True):
                        sums += gradient.abs().sum(0).flatten().cpu() * gate / self.rows
        return total

    def gradients(self, model: TrimformerWithHead, batch: dict[str, Tensor], kept: Parts) -> Parts:
        """The gradients of each text's loss by each gate: for each layer (batch, 1, parts)."""
        device = batch["input_ids"].device
        rows = len(batch["input_ids"])
        gates = {
            point: [gate.to(device).expand(rows, 1, -1).clone().requires_grad_() for gate in given]
            for point, given in kept.items()
        }
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = model(**inputs, gates=self.gates(gates)).logits
        losses = losses_of_texts(self.context.task.kind, logits, batch["labels"], batch["attention_mask"])
        every = [gate for given in gates.values() for gate in given]
        found = iter(torch.autograd.grad(losses.sum(), every, materialize_grads=True))
        return {point: [next(found) for _ in given] for point, given in gates.items()}

    def gates(self, parts: Parts) -> Gates:
        attention = parts.get("attention")
        return Gates(
            attention=None if attention is None else torch.stack(attention),
            removed=self.settings.replace_by,
            heads=parts.get("heads"),
            ffn=parts.get("ffn"),
        )

    def best(self, point: str, scores: list[Tensor], kept: list[Tensor], progress: float) -> list[Tensor]:
        """What stays after this share of the removal: units within their layer, heads and layers among all."""
        if point == "ffn":
            share = self.settings.ffn
            return [
                largest(own, gate, fallen(len(gate), round(share * len(gate)), progress))
                for own, gate in zip(scores, kept, strict=True)
            ]
        sizes = [len(gate) for gate in kept]
        target = self.settings.keep_layers
        if point == "heads":
            target = round(self.settings.heads * sum(sizes))
            scores = [own / own.norm().clamp(min=torch.finfo(own.dtype).tiny) for own in scores]
        chosen = largest(torch.cat(scores), torch.cat(kept), fallen(sum(sizes), target, progress))
        return list(chosen.split(sizes))

    def notes(self) -> list[str]:
        rounds = self.settings.rounds
        how = "once" if rounds == 1 else f"{rounds} times, each time without what was removed before"
        notes = [f"Importance was estimated on {self.rows} rows of the training split, {how}."]
        if self.settings.target is not None:
            notes.append(f"{self.left} (target {self.settings.target:g}).")
        if "attention" in self.scores:
            listed = ", ".join(f"{index} {own.item():.4f}" for index, own in enumerate(self.scores["attention"]))
            notes.append(f"The importance of the attention layers, 0 where one was gone already, is: {listed}.")
        return notes


def every_part(config: TrimformerConfig) -> Parts:
    """Gates that keep all heads and units."""
    return {point: [torch.ones(size) for size in POINTS[point].sizes(config)] for point in ("heads", "ffn")}


def importance_of(context: Context, rows: int) -> Parts:
    """The importance of all heads and units of a stage's model, on so many rows of the training split."""
    method = Importance(ImportanceSettings(keep_layers=0, rows=rows), context)  # only its estimate is wanted
    return method.estimate(every_part(context.model.config))


def savings(cost: ExpectedCost, point: str, kept: Parts) -> list[float]:
    """For each layer the mean cost of one of its parts at a gate point, as a share of that of the dense layers."""
    found = []
    for layer, gate in enumerate(kept[point]):
        without = [torch.zeros_like(own) if index == layer else own for index, own in enumerate(kept[point])]
        given: dict[str, Any] = {point: without}
        whole = 1 - cost.share(Gates(**given)).item()
        found.append(max(whole / max(1, len(gate)), torch.finfo(gate.dtype).tiny))
    return found


def fitted(cost: ExpectedCost, worth: Parts, kept: Parts, target: float) -> Parts:
    """The gates that keep what is worth most for its cost, and cost what is nearest to the target."""
    every = torch.cat([own[gate > 0] for point in kept for own, gate in zip(worth[point], kept[point], strict=True)])
    bars = torch.cat([every.new_tensor([-1.0]), every.sort().values])

    def above(place: int) -> Parts:
        pairs = {point: zip(worth[point], kept[point], strict=True) for point in kept}
        return {point: [gate * (own > bars[place]) for own, gate in given] for point, given in pairs.items()}

    def share(place: int) -> float:
        given: dict[str, Any] = dict(above(place))
        return cost.share(Gates(**given)).item()

    low, high = 0, len(bars) - 1  # at most too much stays, nothing does
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(middle) > target else (low, middle)
    return above(min((low, high), key=lambda place: abs(share(place) - target)))


def losses_of_texts(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor) -> Tensor:
    """The task loss of each text of a batch by itself: (batch,)."""
    rows = (slice(index, index + 1) for index in range(len(logits)))
    return torch.stack([task_loss(kind, logits[row], labels[row], attention_mask[row]) for row in rows])


def fallen(start: int, target: int, progress: float) -> int:
    """A count on its way from start to target."""
    return round(start - (start - target) * progress)


def largest(scores: Tensor, kept: Tensor, count: int) -> Tensor:
    """Gates that keep the `count` parts with the largest scores among those left; among equals the first stay."""
    order = torch.sort(scores.where(kept > 0, -1), descending=True, stable=True).indices
    chosen = torch.zeros_like(kept)
    chosen[order[:count]] = 1
    return chosen
