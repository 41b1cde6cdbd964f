"""What could be removed together: combinations, their predicted time and loss, and the few that are worth training."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..console import Ticker
from ..encoder.gating.trim import trim
from ..encoder.shape.config import StandIn, TrimformerConfig
from ..encoder.shape.gates import Gates
from ..methods import Context
from ..report.bench_picture import frontier
from .sensitivity import Cost, Sensitivity

MOST = 8
"""Candidates that are trained."""
LAYERS = (1.0, 2 / 3, 1 / 2)
ATTENTION = (1.0, 3 / 4, 1 / 2, 1 / 3, 1 / 6)
HEADS = (1.0, 1 / 2)
UNITS = (1.0, 1 / 2, 1 / 4)
WIDTHS = (1.0, 3 / 4)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What stays, before it is known which.

    layers: those that stay at all. attention: those of them that keep it. stand_in: what the others get, ``mean`` in
    those that matter least, or ``none`` in the last ones. heads: share of each layer with attention. units: share of
    each feed-forward block. width: share of the hidden dimensions.
    """

    layers: int
    attention: int
    stand_in: StandIn = "mean"
    heads: float = 1.0
    units: float = 1.0
    width: float = 1.0

    @property
    def name(self) -> str:
        """For folders and tables: layers, those with attention, percent of heads, of units and of the width."""
        parts = [f"l{self.layers}-a{self.attention}"]
        parts += ["none"] * (self.stand_in == "none")
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


class Latencies(Protocol):
    """What knows the time of a pass of models of one width: a table of the device."""

    def predict(self, layers: TrimformerConfig) -> float: ...

    def fits(self, config: TrimformerConfig) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Tables:
    """Those of all widths."""

    tables: Sequence[Latencies]

    def predict(self, config: TrimformerConfig) -> float:
        """Milliseconds of a pass."""
        return next(table for table in self.tables if table.fits(config)).predict(config)


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A candidate before training. ms: of one pass. cost: what its removal costs the dense model."""

    candidate: Candidate
    ms: float
    cost: float


def structures(layers: int, reads_first: bool) -> list[Candidate]:
    """All combinations of layers and attention, the dense model first.

    reads_first: the head reads the first token only, so that nothing but that token is computed after the last layer
    that mixes the tokens: ``none`` in all layers from there on is by far the fastest.
    """

    def counts(shares: Sequence[float]) -> list[int]:
        return list(dict.fromkeys(max(1, round(share * layers)) for share in shares))

    stand_ins: tuple[StandIn, ...] = ("mean", "none") if reads_first else ("mean",)
    return [
        Candidate(left, attention, stand_in)
        for left in counts(LAYERS)
        for stand_in in stand_ins
        for attention in dict.fromkeys(min(left, count) for count in counts(ATTENTION))
        if stand_in == "mean" or attention < left
    ]


def removable_shares(config: TrimformerConfig) -> dict[str, Sequence[float]]:
    """Of heads, units and width what may stay in this architecture, all of them first."""
    shares: dict[str, Sequence[float]] = {"heads": HEADS, "units": UNITS, "width": WIDTHS}
    if config.sharing is not None:  # what layers share they can only lose together
        shares |= {"heads": HEADS[:1], "units": UNITS[:1]}
    if config.attention_positions == "relative_bias":  # a table with a bias for each head cannot lose one
        shares |= {"heads": HEADS[:1]}
    if config.attention_positions == "disentangled":  # a table of positions is as wide as the rest
        shares |= {"width": WIDTHS[:1]}
    return shares


def gates_of(candidate: Candidate, found: Sensitivity, device: torch.device | None = None) -> Gates:
    """The gates that remove it: of layers, attention, heads and units those that matter least."""
    every = range(len(found.layers))
    worth = [math.inf, *found.layers[1:]] if found.first_stays else found.layers
    left = sorted(_largest(worth, candidate.layers))
    keeps = left[: candidate.attention]
    if candidate.stand_in == "mean":
        best = _largest([found.attention[index] for index in left], candidate.attention)
        keeps = [left[place] for place in best]
    # Of layers that are gone, and the heads of a layer without attention, there is nothing to remove.
    mixes = [float(index in keeps or index not in left) for index in every]
    heads = [_best(own, candidate.heads if index in keeps else 1.0, device) for index, own in enumerate(found.heads)]
    units = [_best(own, candidate.units, device) for own in found.units]
    stays = [float(index in left) for index in every]
    return Gates(
        attention=torch.tensor(mixes, device=device) if candidate.attention < candidate.layers else None,
        removed=candidate.stand_in,
        layers=torch.tensor(stays, device=device) if candidate.layers < len(every) else None,
        heads=heads if candidate.heads < 1 else None,
        ffn=units if candidate.units < 1 else None,
        hidden=_best(found.hidden, candidate.width, device) if candidate.width < 1 else None,
    )


def widths(config: TrimformerConfig, found: Sensitivity) -> list[Gates]:
    """The gates of each width that a candidate may have, and of nothing else."""
    dense = structures(config.num_hidden_layers, reads_first=False)[0]
    return [gates_of(dataclasses.replace(dense, width=share), found) for share in removable_shares(config)["width"]]


def _largest(scores: Sequence[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -scores[index])[:count]


def _best(scores: Sequence[float], share: float, device: torch.device | None) -> Tensor:
    gates = torch.zeros(len(scores), device=device)
    gates[_largest(scores, max(1, round(share * len(scores))))] = 1
    return gates


def predict(
    context: Context,
    found: Sensitivity,
    cost: Cost,
    latencies: Tables,
    enough: Callable[[], bool] = lambda: False,
) -> list[Predicted]:
    """All combinations whose shapes differ, the dense model first.

    Every combination of layers and attention is tried; what heads, units and width cost is what they cost the dense
    model.

    enough: says that there is no time for more; by then a random part of them has been seen.
    """
    device, model = context.accelerator.device, context.model
    bare: Any = copy.deepcopy(model)
    bare.to("meta")  # only the shapes of what is trimmed are wanted
    dense, *others = structures(model.config.num_hidden_layers, model.reads_first(model.config))
    parts: dict[str, Any] = removable_shares(model.config)
    predicted: list[Predicted] = []
    seen = set()
    with Ticker("Predicting time and cost of combinations", 1 + len(others)) as tick:
        alone = {
            (name, share): cost(gates_of(dataclasses.replace(dense, **{name: share}), found, device))
            for name, shares in parts.items()
            for share in shares[1:]
        }
        for structure in [dense, *(others[index] for index in np.random.default_rng(0).permutation(len(others)))]:
            if predicted and enough():
                break
            own = cost(gates_of(structure, found, device))
            for chosen in itertools.product(*([(name, share) for share in shares] for name, shares in parts.items())):
                candidate = dataclasses.replace(structure, **dict(chosen))
                config = trim(bare, gates_of(candidate, found)).config
                shape = (config.hidden_size, config.shapes)
                if shape in seen:  # in small layers different shares are the same number
                    continue
                seen.add(shape)
                predicted.append(
                    Predicted(candidate, latencies.predict(config), own + sum(alone.get(part, 0.0) for part in chosen))
                )
            tick.advance()
    return predicted


def promising(predicted: Sequence[Predicted], fast: float, count: int) -> list[Predicted]:
    """Of those that no other beats in both time and cost at most so many, spread over the range of times.

    The first that is given, the dense model, is one that can beat others, and needs no training. fast: milliseconds;
    half of the places are for those that take no longer, the others for slower ones, should no fast one be good enough;
    what either leaves the other gets.
    """
    best = [predicted[index] for index in frontier([(1 / one.ms, -one.cost) for one in predicted])]
    ordered = sorted((one for one in best if one is not predicted[0]), key=lambda one: one.ms)
    wanted = [one for one in ordered if one.ms <= fast]
    others = ordered[len(wanted) :]
    slower = min(len(others), max(count // 2, count - len(wanted)))
    return [*spread(wanted, count - slower), *spread(others, slower)]


def spread(predicted: Sequence[Predicted], count: int) -> list[Predicted]:
    """So many of these, given by rising time: those nearest to equal steps of time.

    Equal factors would put most of them where nothing is left that training could repair.
    """
    if len(predicted) <= count:
        return list(predicted)
    left = list(predicted)
    chosen = []
    for target in np.linspace(predicted[0].ms, predicted[-1].ms, count):
        nearest = min(left, key=lambda one: abs(one.ms - target))
        left.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen, key=lambda one: one.ms)
