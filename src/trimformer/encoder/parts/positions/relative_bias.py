"""A number for each head and distance is added to the scores (MPNet, T5)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...shape.config import LayerShape, TrimformerConfig
from ...shape.kinds import ATTENTION, POSITIONS
from ..axes import COLUMNS, Axis
from .base import Mechanism, Placed, by_distance, distances, query_minus_key


@POSITIONS.add("relative_bias")
class RelativeBias(Mechanism):
    """MPNet and T5: a learned number for each head and distance, added to the scores of every layer alike.

    Raffel et al. (2020), section 2.1; Song et al. (2020). A layer that lost heads has the columns of its others.
    """

    only_scores = False
    same_for_layers = True
    by_token = False
    axes = {"table": (None, COLUMNS)}  # noqa: RUF012  (never written to)

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__(config)
        self.limit = config.relative_span
        self.table = nn.Embedding(config.relative_buckets, columns_of(config))
        self.buckets = t5_buckets(distances(self.limit), config.relative_buckets, config.relative_span)
        self.sets = {_set_of(shape) for shape in _attending(config.shapes)}

    def prepare(self, places: Tensor) -> dict[tuple[int, ...] | None, Tensor]:
        """The bias of the layers by the columns that they have, (1 or batch, heads, n, n)."""
        bias: Tensor = self.table(by_distance(self.buckets, -query_minus_key(places)))
        whole = bias.permute(0, 3, 1, 2).contiguous()
        return {columns: whole if columns is None else whole[:, list(columns)] for columns in self.sets}

    def place(
        self, state: dict[tuple[int, ...] | None, Tensor], layer: Placed, query: Tensor, key: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return query, key, state[layer.columns]

    @classmethod
    def params(cls, config: TrimformerConfig) -> int:
        return config.relative_buckets * columns_of(config)

    @classmethod
    def cut(
        cls, config: TrimformerConfig, shapes: Sequence[LayerShape]
    ) -> tuple[list[LayerShape], dict[str, Any], dict[str, Axis]]:
        """Columns that no layer needs any more go."""
        if not _attending(config.shapes):
            return list(shapes), {}, {}
        before = columns_of(config)
        needed = sorted({column for shape in _attending(shapes) for column in _columns(shape, before)})
        if not needed:
            return list(shapes), {}, {}
        place = {column: index for index, column in enumerate(needed)}
        changed = [
            dataclasses.replace(shape, own=_own(shape, [place[c] for c in _columns(shape, before)], len(needed)))
            if ATTENTION[shape.attention].attends
            else shape
            for shape in shapes
        ]
        said = config.relative_heads is not None or any(_set_of(shape) for shape in shapes)
        fields = {"relative_heads": len(needed)} if said else {}
        return changed, fields, {COLUMNS: Axis(torch.tensor(needed))}


def columns_of(config: TrimformerConfig) -> int:
    """Columns of the table: as many as an untrimmed layer has heads, where the configuration does not say."""
    return config.relative_heads or max(max(_columns(shape, shape.heads)) + 1 for shape in _attending(config.shapes))


def _attending(shapes: Sequence[LayerShape]) -> list[LayerShape]:
    return [shape for shape in shapes if ATTENTION[shape.attention].attends]


def _set_of(shape: LayerShape) -> tuple[int, ...] | None:
    return tuple(shape.own[COLUMNS]) if COLUMNS in shape.own else None


def _columns(shape: LayerShape, count: int) -> list[int]:
    return list(shape.own.get(COLUMNS, range(count)))


def _own(shape: LayerShape, columns: list[int], count: int) -> dict[str, Any]:
    """A layer that has all columns in order need not name them."""
    others = {name: value for name, value in shape.own.items() if name != COLUMNS}
    return others if columns == list(range(count)) else others | {COLUMNS: columns}


def t5_buckets(distance: Tensor, buckets: int, span: int) -> Tensor:
    """Bucket of each distance (key minus query), int64: half of them for keys behind, half for keys ahead.

    In each half the first half counts one by one, the others grow logarithmically up to ``span``, and what is
    farther falls into the last one.
    """
    half = buckets // 2
    exact = half // 2
    steps = distance.abs()
    logs = torch.log(steps.clamp(min=exact).float() / exact) / math.log(span / exact) * (half - exact)
    far = (exact + logs.long()).clamp(max=half - 1)
    return torch.where(steps < exact, steps, far) + half * (distance > 0).long()
