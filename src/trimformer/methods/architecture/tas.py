"""TAS: how many heads and units each layer has, and how many layers there are, searched by two drawn sizes at a time.

Dong and Yang, "Network Pruning via Transformable Architecture Search", 2019. In turn logits α of the sizes take a step
on held-out rows and the weights one on the others. Every pass draws two sizes for each part of the encoder, and goes on
with the sum of what both give (``widths.py``); the temperature of the draws falls from 5 to 0.1.

Where the published method is left: heads and units are put in the order of their importance before, because a size has
the first ones, and those of a trained encoder are in no order; the norms, which are of the stream, are the same for all
widths; the weights go on from the search, and are not trained anew; and the sizes with the largest shares are chosen
among those choices that meet the target.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.gating.limits import limits
from ...encoder.gating.reorder import reordered
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import ATTENTION
from ...errors import TrimformerError
from ...training.settings import ObjectiveSettings
from ..base import Context, Standard, register
from ..structure.hard_concrete import group_of
from .alternating import Choosing, ChoosingSettings
from .dynabert import orders
from .shares import within_for_each
from .widths import Drawn, Widths, draw

FIRST_TEMPERATURE, LAST_TEMPERATURE = 5.0, 0.1
Part = Literal["heads", "units", "layers"]
POINT: dict[Part, str] = {"heads": "heads", "units": "ffn", "layers": "layers"}
Share = Annotated[float, Field(gt=0, le=1)]


class TasSettings(ChoosingSettings):
    """Settings of TAS."""

    name: Literal["tas"] = "tas"
    parts: list[Part] = Field(
        ["heads", "units", "layers"],
        min_length=1,
        description="what is searched: heads and feed-forward units of each layer, and how many of the first layers",
    )
    widths: list[Share] = Field(
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], min_length=2, description="shares of the heads, or units, of a layer"
    )
    depths: list[Share] = Field([1.0, 0.67, 0.33], min_length=2, description="shares of the layers")
    rows: int = Field(1000, ge=1, description="rows of the training split that the order of heads and units is from")


class Place(NamedTuple):
    """A part of the encoder, its layer (None: of all), and the sizes that it may have, the present one first."""

    part: Part
    layer: int | None
    sizes: list[int]


@register
class Tas(Choosing):
    """Learn the sizes of all layers, and how many there are, between sizes that run side by side."""

    name = "tas"
    Settings = TasSettings
    example = {"target": 0.6, "rows": 16, "held_out": 0.1}  # noqa: RUF012  (never written to)
    standard = Standard(repair=ObjectiveSettings(task=0.1, logits=0.9, temperature=4.0))

    def __init__(self, settings: Any, context: Context) -> None:
        self.check(settings, context.model.config)
        self.places = places(settings, context.model.config)
        context = self.begin(settings, context)
        if set(settings.parts) != {"layers"}:
            context = dataclasses.replace(context, model=reordered(context.model, *orders(context, settings.rows)))
        super().__init__(settings, context, [len(place.sizes) for place in self.places])

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        for part in settings.parts:
            limits(config).require(POINT[part], f"leave {part} out of parts")
        if settings.cost == "ms" and "layers" in settings.parts:
            raise TrimformerError(
                "The table of the device knows layers one by one: with cost ms leave layers out of parts."
            )
        for name in ("widths", "depths"):
            if 1.0 not in getattr(settings, name):
                raise TrimformerError(f"{name} must have 1.0 in it, what the encoder has now: add it.")
        if not any(len(place.sizes) > 1 for place in places(settings, config)):
            raise TrimformerError("No part of this encoder can have another size: name more parts, or other shares.")

    def temperature(self) -> float:
        """It falls on a line from the first to the last step."""
        return FIRST_TEMPERATURE + (LAST_TEMPERATURE - FIRST_TEMPERATURE) * self.step / self.context.steps

    def gates(self) -> Gates:
        every = zip(self.alphas.logits, self.places, strict=True)
        return self.widths([draw(own, place.sizes, self.temperature()) for own, place in every])

    def widths(self, drawn: Sequence[Drawn]) -> Widths:
        """The gates of what is drawn for each place."""
        found = {(place.part, place.layer): own for place, own in zip(self.places, drawn, strict=True)}
        heads, units = ([found.get((part, index)) for index in range(self.layers)] for part in ("heads", "units"))
        return Widths(heads, units, found.get(("layers", None)))

    def expected(self, shares: Sequence[Tensor]) -> Tensor:
        return self.aim.cost.share(self.kept(shares))

    def kept(self, shares: Sequence[Tensor]) -> Gates:
        """Gates that are the probabilities with which a part is there; with shares of 1 they are hard."""
        config = self.aim.cost.config
        heads = [torch.ones(shape.heads) for shape in config.shapes]
        units = [torch.ones(shape.ffn) for shape in config.shapes]
        layers = torch.ones(config.num_hidden_layers)
        for place, share in zip(self.places, shares, strict=True):
            there = torch.arange(place.sizes[0]) < torch.tensor(place.sizes)[:, None]
            kept = share @ there.to(share.dtype)
            if place.layer is None:
                layers = kept
            else:
                (heads if place.part == "heads" else units)[place.layer] = kept
        given: dict[str, Any] = {"heads": heads, "ffn": units, "layers": layers}
        asked: dict[str, Any] = {POINT[place.part]: given[POINT[place.part]] for place in self.places}
        return Gates(**asked)

    def sizes(self, choice: Sequence[int]) -> list[int]:
        """What is chosen at each place."""
        return [place.sizes[index] for place, index in zip(self.places, choice, strict=True)]

    def record(self, step: int) -> None:
        means: dict[str, list[float]] = {}
        for place, share in zip(self.places, self.alphas.shares(), strict=True):
            mean = (share @ torch.tensor(place.sizes, dtype=share.dtype)).item() / place.sizes[0]
            means.setdefault(place.part, []).append(mean)
        for part, values in means.items():
            self.history.add(f"share of {part}", step, values[0] if part == "layers" else values)

    def within(self, shares: Sequence[Tensor], limit: float) -> list[int]:
        """As for all, by depth: what the sizes of a layer save depends on whether it is there."""
        if "layers" in self.settings.parts:
            return within_for_each(shares, self.cost, limit)
        return super().within(shares, limit)

    def decide(self) -> Gates:
        return self.kept(self.hard(self.choice()))

    def notes(self) -> list[str]:
        found: dict[str, list[str]] = {}
        for place, size in zip(self.places, self.sizes(self.choice()), strict=True):
            found.setdefault(place.part, []).append(str(size))
        said = "; ".join(f"{part} {', '.join(sizes)}" for part, sizes in found.items())
        return [f"what is left, layer by layer: {said}.", *super().notes()]


def places(settings: Any, config: TrimformerConfig) -> list[Place]:
    """What is searched of an encoder; a layer without heads or units of its own has no such place."""
    found: list[Place] = []
    for index, shape in enumerate(config.shapes):
        if "heads" in settings.parts and ATTENTION[shape.attention].has_values:
            found.append(Place("heads", index, sizes_of(shape.heads, settings.widths)))
        if "units" in settings.parts and shape.ffn:
            found.append(Place("units", index, sizes_of(shape.ffn, settings.widths, group_of(shape.ffn))))
    if "layers" in settings.parts:
        found.append(Place("layers", None, sizes_of(config.num_hidden_layers, settings.depths)))
    return found


def sizes_of(whole: int, shares: Sequence[float], group: int = 1) -> list[int]:
    """The sizes that these shares of a whole are, from the largest, in multiples of a group, at least one."""
    less = {min(whole, max(group, group * round(share * whole / group))) for share in shares if share < 1}
    return sorted(less | {whole}, reverse=True)
