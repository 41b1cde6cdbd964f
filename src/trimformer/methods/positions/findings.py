"""How much each position of attention counts, and what that is on average by kinds of positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

RESAMPLES = 1000
CONFIDENCE = 0.95


class GroupMean(BaseModel):
    """The mean importance of some positions."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    name: str = Field(description="diagonal, neighbours, special tokens or rest; each position is in one of them")
    positions: int = Field(description="how many positions it is the mean of")
    mean: float = Field(description="mean importance, 0 to 1")
    low: float = Field(description="lower end of its 95 % interval over the positions, by the bootstrap")
    high: float = Field(description="upper end of it")


class ImportanceMap(BaseModel):
    """The importance of all positions in one layer, or in all."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    layer: int | None = Field(description="its number from 0; null: shared by all layers that have full attention")
    values: list[list[float]] = Field(description="P = σ(α), 0 to 1: a row for each query, a column for each key")
    groups: list[GroupMean] = Field(description="the mean of each kind of positions")


class PositionImportance(BaseModel):
    """What a study of positions found."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    length: int = Field(description="tokens of the texts whose positions are shown")
    special: list[int] = Field(description="places at which most texts have a special token")
    maps: list[ImportanceMap] = Field(description="one, or one for each layer that has full attention")


def position_groups(length: int, special: Sequence[int]) -> dict[str, Tensor]:
    """Which positions are of which kind, (length, length) boolean each; a position is of the first kind that it fits.

    special tokens: the query or the key stands at one of these places. diagonal: a token and itself. neighbours: two
    tokens side by side.
    """
    places = torch.arange(length)
    distance = (places[:, None] - places).abs()
    is_special = torch.zeros(length, dtype=torch.bool)
    is_special[list(special)] = True
    found, free = {}, torch.ones(length, length, dtype=torch.bool)
    for name, kind in (
        ("special tokens", is_special | is_special[:, None]),
        ("diagonal", distance == 0),
        ("neighbours", distance == 1),
        ("rest", distance > 1),
    ):
        found[name] = kind & free
        free = free & ~kind
    return {name: found[name] for name in ("diagonal", "neighbours", "special tokens", "rest")}


def group_means(values: Tensor, special: Sequence[int], seed: int) -> list[GroupMean]:
    """The mean of each kind of positions that there is, with an interval over its positions, drawn with replacement."""
    rng, found = np.random.default_rng(seed), []
    for name, kind in position_groups(len(values), special).items():
        own = values[kind].double().numpy()
        if not len(own):
            continue
        means = [own[rng.integers(len(own), size=len(own))].mean() for _ in range(RESAMPLES)]
        low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        found.append(GroupMean(name=name, positions=len(own), mean=float(own.mean()), low=float(low), high=float(high)))
    return found
