"""Layouts: what each layer keeps, brought to a given cost, and how good the present weights are in one.

What searches choose layouts in, and what they have to beat. Which heads and units of a layer stay is not searched: it
is those that matter most, or the first ones where the model was trained to hold smaller ones (``dynabert``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ...encoder.gating.limits import limits
from ...encoder.gating.nested import ordered
from ...encoder.model.heads import task_loss
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import StandIn
from ...encoder.shape.points import POINTS
from ...errors import TrimformerError
from ...training.evaluate import evaluating
from ..base import Context, Method, worded
from ..structure.cost import CostSettings, ExpectedCost, check_cost
from ..structure.hard_concrete import group_of
from ..structure.importance import importance_of, largest

Part = Literal["layers", "attention", "heads", "units"]
POINT: dict[Part, str] = {"layers": "layers", "attention": "attention", "heads": "heads", "units": "ffn"}
"""The gate point of each part."""

TOLERANCE = 0.05
"""How far from the target a layout may cost, as a share of the target."""
LEAST = 0.05
"""The smallest weight that a layout may give the heads or the units of a layer."""
DRAWS = 100
"""Layouts that are drawn in each trial, at most, until one can be brought to the cost."""
HALVINGS = 12
"""Of the range of the factor on all weights: the last step is less than a hundredth of the heads or units."""


class LayoutSettings(CostSettings):
    """Settings of the methods that leave a layout of a given cost."""

    target: float = Field(gt=0, lt=1, description="share of the cost of the dense layers that stays")
    rows: int = Field(1000, ge=1, description="training rows that importance is estimated on")

    @property
    def label(self) -> str:
        return worded(self.name, replace_by=getattr(self, "replace_by", "mean"))


class SearchedSettings(LayoutSettings):
    """Settings of those that compare layouts."""

    trials: int = Field(100, ge=1, description="layouts that are compared, by the loss without training")
    parts: list[Part] = Field(
        ["layers", "attention", "heads", "units"], min_length=1, description="in what layouts may differ"
    )
    replace_by: StandIn = Field("mean", description="what a layer that loses its attention becomes")

    @field_validator("parts")
    @classmethod
    def _fine(cls, parts: list[Part]) -> list[Part]:
        if not {"heads", "units"} & set(parts):
            raise ValueError("without heads and units a layout cannot be brought to a cost, add one of them")
        return parts


@dataclasses.dataclass(frozen=True)
class Layout:
    """For each layer whether it stays and whether it keeps its attention, and how its heads and its units are weighed
    against those of the others, from ``LEAST`` to 1.
    """

    layers: list[bool]
    attention: list[bool]
    heads: list[float]
    units: list[float]

    @classmethod
    def alike(cls, layers: int) -> Layout:
        """All layers weigh the same."""
        return cls([True] * layers, [True] * layers, [1.0] * layers, [1.0] * layers)


class Layouts:
    """The layouts of a model that cost what the settings ask for."""

    def __init__(self, settings: Any, context: Context, parts: list[Part]) -> None:
        self.settings, self.context, self.parts = settings, context, parts
        self.config = context.model.config
        self.cost = ExpectedCost(settings, context)
        self.scores = scores_of(context, settings.rows)
        self.batches = list(context.sample(context.selection, settings.rows))

    @property
    def may_go(self) -> list[int]:
        """The layers that can be left out as a whole."""
        return list(range(int(limits(self.config).first_stays is not None), self.config.num_hidden_layers))

    def gates(self, layout: Layout) -> Gates | None:
        """Hard gates that cost what is aimed at; None where the layout cannot: what it drops is too much or too little.

        Heads and units are taken by one factor on all weights, then units by another, whose steps are smaller.
        """
        most, least = (self.share(self._at(layout, factor, factor)) for factor in (1 / LEAST, 0.0))
        if least > (1 + TOLERANCE) * self.settings.target or most < (1 - TOLERANCE) * self.settings.target:
            return None
        both, missed = self._fitted(lambda factor: self._at(layout, factor, factor))
        fine = both
        if "units" in self.parts:
            fine, missed = self._fitted(lambda factor: self._at(layout, both, factor))
        return self._at(layout, both, fine) if missed <= TOLERANCE * self.settings.target else None

    def drop(self, kept: list[bool], layout: Layout, order: list[int], share: float) -> None:
        """Drop the first ones of an order: this share of as many as can go while the target is still in reach.

        kept: the layers or the attention of the layout, which is changed.
        """
        most = 0
        for index in order:
            kept[index] = False
            if self.share(self._at(layout, 1 / LEAST, 1 / LEAST)) < self.settings.target:
                break
            most += 1
        for place, index in enumerate(order):
            kept[index] = place >= round(share * most)

    def share(self, gates: Gates) -> float:
        """The share of the dense layers' cost that stays."""
        return self.cost.share(gates).item()

    def loss(self, gates: Gates) -> float:
        """The mean loss of the task on rows of the selection split, with the weights as they are."""
        model, kind, total, count = self.context.model, self.context.selection.kind, 0.0, 0
        device = self.context.accelerator.device
        given = {name: own for name, own in gates.given.items() if name in ("layers", "attention")}
        inside = {name: [gate.to(device) for gate in own] for name, own in gates.given.items() if name not in given}
        placed = Gates(removed=gates.removed, **given, **inside)
        with torch.no_grad(), evaluating(model.to(device)):
            for batch in self.batches:
                inputs = {name: value for name, value in batch.items() if name != "labels"}
                logits = model(**inputs, gates=placed).logits
                loss = task_loss(kind, logits, batch["labels"], batch["attention_mask"])
                total, count = total + len(inputs["input_ids"]) * loss.item(), count + len(inputs["input_ids"])
        return total / count

    def _fitted(self, gates: Callable[[float], Gates]) -> tuple[float, float]:
        """The factor with which these gates come nearest to the target, and by how much they miss it."""
        low, high, best = 0.0, 1 / LEAST, (0.0, math.inf)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            beyond = self.share(gates(middle)) - self.settings.target
            low, high = (middle, high) if beyond < 0 else (low, middle)
            best = min(best, (middle, abs(beyond)), key=lambda found: found[1])
        return best

    def _at(self, layout: Layout, heads: float, units: float) -> Gates:
        found: dict[str, Any] = {}
        if "heads" in self.parts:
            found["heads"] = [_best(s, w * heads) for s, w in zip(self.scores["heads"], layout.heads, strict=True)]
        if "units" in self.parts:
            found["ffn"] = [_best(s, w * units) for s, w in zip(self.scores["ffn"], layout.units, strict=True)]
        if not all(layout.layers):
            found["layers"] = torch.tensor(layout.layers).float()
        if not all(layout.attention):
            found["attention"] = torch.tensor(layout.attention).float()
        return Gates(removed=getattr(self.settings, "replace_by", "mean"), **found)


def _best(scores: Tensor, share: float) -> Tensor:
    """Gates that keep this share of the parts of a layer, those with the largest scores, and at least one; of many in
    whole groups.
    """
    group = group_of(len(scores))
    count = group * max(1, round(share * len(scores) / group))
    return largest(scores, torch.ones_like(scores), min(len(scores), count))


def scores_of(context: Context, rows: int) -> dict[str, list[Tensor]]:
    """By how much the heads and the units of each layer matter; the first ones most where the model was trained so."""
    if not ordered(context.model.config):
        return importance_of(context, rows)
    config = context.model.config
    return {
        point: [torch.arange(size, 0, -1).float() for (size,) in POINTS[point].sizes(config)]
        for point in ("heads", "ffn")
    }


class Searched(Method):
    """A method that compares layouts by their loss without training, and leaves the best."""

    trains = False

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        check_layout(settings, config, settings.parts)

    def decide(self) -> Gates:
        self.layouts = Layouts(self.settings, self.context, self.settings.parts)
        found: tuple[float, Gates] | None = None
        for trial in range(1, self.settings.trials + 1):
            gates = self.drawn()
            loss = self.layouts.loss(gates)
            self.learn(loss)
            if found is None or loss < found[0]:
                found = loss, gates
            self.history.add("lowest loss", trial, found[0])
        assert found is not None
        self.loss, gates = found
        self.left = self.layouts.share(gates)
        return gates

    def drawn(self) -> Gates:
        """Those of the next layout that can be brought to the cost."""
        for _ in range(DRAWS):
            gates = self.layouts.gates(self.draw())
            if gates is not None:
                return gates
            self.learn(None)
        raise TrimformerError(
            f"None of {DRAWS} layouts costs {self.settings.target:g} of the dense layers' {self.layouts.cost}: raise "
            "target, or leave layers and attention out of parts."
        )

    def draw(self) -> Layout:
        """What is to be tried next."""
        raise NotImplementedError

    def learn(self, loss: float | None) -> None:
        """Take in the loss of the layout drawn last; None: it cannot be brought to the cost."""

    def notes(self) -> list[str]:
        rows = sum(len(batch["input_ids"]) for batch in self.layouts.batches)
        return [
            f"{self.left:.3f} of the dense layers' {self.layouts.cost} stay (target {self.settings.target:g}), in the "
            f"best of {self.settings.trials} layouts: without training its loss on {rows} selection rows is "
            f"{self.loss:.4f}."
        ]


def check_layout(settings: Any, config: TrimformerConfig, parts: list[Part]) -> None:
    """Raise TrimformerError where this encoder cannot lose these parts, or cannot be timed without them."""
    check_cost(settings, config)
    if settings.cost == "ms" and "layers" in parts:
        raise TrimformerError(
            "The table of the device has no times for layers that are left out: with cost ms leave layers out of parts."
        )
    for part in parts:
        limits(config).require(POINT[part], f"leave {part} out of parts")
