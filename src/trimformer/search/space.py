"""The space that is searched: what can be removed together, and the gates that remove it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ..encoder.gating.limits import limits
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.gates import Gates
from ..encoder.shape.kinds import ATTENTION as ATTENTION_KINDS
from ..encoder.shape.kinds import StandIn, stand_ins
from ..methods.structure.hard_concrete import group_of
from .sensitivity import Sensitivity

LAYERS = (1.0, 2 / 3, 1 / 2)
ATTENTION = (1.0, 5 / 6, 2 / 3, 1 / 2, 1 / 3, 1 / 6)
HEADS = (1.0, 3 / 4, 1 / 2)
UNITS = (1.0, 3 / 4, 1 / 2, 1 / 4)
WIDTHS = (1.0, 3 / 4)


@dataclasses.dataclass(frozen=True)
class Combination:
    """What stays, before it is known which.

    layers: those that stay at all. attention: those of them that keep it. stand_in: what the others get, ``mean`` in
    those that matter least, or ``none`` in the last ones. heads: share of those in layers with attention. units: share
    of those in all feed-forward blocks. width: share of the hidden dimensions.
    """

    layers: int
    attention: int
    stand_in: StandIn = "mean"
    heads: float = 1.0
    units: float = 1.0
    width: float = 1.0

    @property
    def name(self) -> str:
        """For folders and tables: layers, those with attention, another stand-in, percent of heads, units and width."""
        parts = [f"l{self.layers}-a{self.attention}"]
        parts += [self.stand_in] * (self.stand_in != Combination.stand_in)
        parts += [f"h{round(100 * self.heads)}"] * (self.heads < 1)
        parts += [f"f{round(100 * self.units)}"] * (self.units < 1)
        parts += [f"w{round(100 * self.width)}"] * (self.width < 1)
        return "-".join(parts)

    def removed(self, layers: int) -> str:
        """What is removed, for people."""
        parts = []
        if self.layers < layers:
            parts.append(f"{layers - self.layers} of {layers} layers")
        if self.attention < self.layers:
            parts.append(f"attention of {self.layers - self.attention} of {self.layers} layers ({self.stand_in})")
        if self.heads < 1:
            parts.append(f"{100 * (1 - self.heads):.0f} % of the heads")
        if self.units < 1:
            parts.append(f"{100 * (1 - self.units):.0f} % of the units")
        if self.width < 1:
            parts.append(f"{100 * (1 - self.width):.0f} % of the hidden dimensions")
        return ", ".join(parts) or "nothing"


def structures(layers: int, reads_first: bool, fitted: bool = False) -> list[Combination]:
    """All combinations of layers and attention, the dense model first.

    fitted: only those that can be fitted in closed form, which takes all layers. reads_first: the head reads the first
    token only, so that only that token is computed after the last layer that mixes the tokens: ``none`` in all layers
    from there on is by far the fastest.
    """

    def counts(shares: Sequence[float]) -> list[int]:
        return list(dict.fromkeys(max(1, round(share * layers)) for share in shares))

    nothing = [name for name in stand_ins() if not ATTENTION_KINDS[name].mixes] if reads_first else []
    return [
        Combination(left, attention, stand_in)
        for left in counts(LAYERS[:1] if fitted else LAYERS)
        for stand_in in ["mean", *nothing]
        for attention in dict.fromkeys(min(left, count) for count in counts(ATTENTION))
        if stand_in == "mean" or attention < left
    ]


def removable_shares(config: TrimformerConfig, fitted: bool = False) -> dict[str, Sequence[float]]:
    """The shares of heads, units and width that may stay in this architecture, all of them first.

    fitted: only what can be fitted in closed form, which takes the whole width.
    """
    shares: dict[str, Sequence[float]] = {"heads": HEADS, "units": UNITS, "width": WIDTHS[:1] if fitted else WIDTHS}
    points = {"heads": "heads", "units": "ffn", "width": "hidden"}
    able = limits(config)
    return {name: given if able.can_lose(points[name]) else given[:1] for name, given in shares.items()}


def gates_of(combination: Combination, found: Sensitivity, device: torch.device | None = None) -> Gates:
    """The gates that remove it: of layers, attention, heads and units those that matter least."""
    every = range(len(found.layers))
    worth = [math.inf, *found.layers[1:]] if found.first_stays else found.layers
    left = sorted(_largest(worth, combination.layers))
    keeps = left[: combination.attention]
    if combination.stand_in == "mean":
        best = _largest([found.attention[index] for index in left], combination.attention)
        keeps = [left[place] for place in best]
    # Of layers that are gone, and the heads of a layer without attention, there is nothing to remove.
    mixes = [float(index in keeps or index not in left) for index in every]
    heads = _shared_out(found.heads, combination.heads, keeps, device)
    units = _shared_out(found.units, combination.units, left, device)
    stays = [float(index in left) for index in every]
    return Gates(
        attention=torch.tensor(mixes, device=device) if combination.attention < combination.layers else None,
        removed=combination.stand_in,
        layers=torch.tensor(stays, device=device) if combination.layers < len(every) else None,
        heads=heads if combination.heads < 1 else None,
        ffn=units if combination.units < 1 else None,
        hidden=_best(found.hidden, round(combination.width * len(found.hidden)), device)
        if combination.width < 1
        else None,
    )


def widths(config: TrimformerConfig, found: Sensitivity, fitted: bool = False) -> list[Gates]:
    """The gates of each width that a combination may have, and of nothing else."""
    dense, shares = structures(config.num_hidden_layers, reads_first=False)[0], removable_shares(config, fitted)
    return [gates_of(dataclasses.replace(dense, width=share), found) for share in shares["width"]]


def _shared_out(
    scores: Sequence[Sequence[float]], share: float, places: Sequence[int], device: torch.device | None
) -> list[Tensor]:
    """The gates of all layers, of which those at these places keep the share of their heads or units together.

    A layer keeps the mean of the share and of what it would keep if all layers were ranked as one. The share alone
    takes from layers that need all, the ranks alone leave a layer nothing that it could be fitted with.
    """
    every = [(value, place) for place in places for value in scores[place]]
    ranked = Counter(place for _, place in sorted(every, reverse=True)[: round(share * len(every))])
    gates = []
    for place, own in enumerate(scores):
        count = float(len(own))
        if place in places:
            count = (share * len(own) + ranked[place]) / 2
        group = group_of(len(own))
        gates.append(_best(own, group * round(count / group), device))
    return gates


def _largest(scores: Sequence[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -scores[index])[:count]


def _best(scores: Sequence[float], count: int, device: torch.device | None) -> Tensor:
    gates = torch.zeros(len(scores), device=device)
    gates[_largest(scores, max(1, count))] = 1
    return gates
