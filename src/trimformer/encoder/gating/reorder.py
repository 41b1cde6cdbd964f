"""The same encoder with its heads and units in another order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from ..parts.axes import Axis
from ..shape.config import LayerShape, TrimformerConfig
from ..shape.gates import Gates
from ..shape.kinds import ATTENTION, POSITIONS
from .keep import Kept, kept_by
from .trim import Model, rebuilt

OF_HEADS = ("values", "outputs", "query", "key")
OF_UNITS = ("ffn", "units")


def reordered(model: Model, heads: Sequence[Tensor], units: Sequence[Tensor]) -> Model:
    """A new model that gives the same answers, with the heads and units of each layer in these orders.

    heads, units: for each layer their present numbers, int64 (heads,) and (units,).
    """
    config, kept = model.config, kept_by(Gates(), model.config)
    axes = [
        {name: Axis(_moved(name, axis.rows, order, given)) for name, axis in own.items()}
        for own, order, given in zip(kept.axes, heads, units, strict=True)
    ]
    shapes = [_in_order(shape, order, config) for shape, order in zip(config.shapes, heads, strict=True)]
    return rebuilt(model, Kept(config.with_shapes(shapes), kept.layers, axes, {}))


def _moved(name: str, rows: Tensor, heads: Tensor, units: Tensor) -> Tensor:
    """The rows of an axis in the order of the heads or the units that they belong to."""
    if name in OF_UNITS:
        return rows[units]
    return rows.reshape(len(heads), -1)[heads].flatten() if name in OF_HEADS else rows


def _in_order(shape: LayerShape, heads: Tensor, config: TrimformerConfig) -> LayerShape:
    """The shape of a layer with what it knows of each head in the order of the heads."""
    if not shape.own and not POSITIONS[config.attention_positions].same_for_layers:
        return shape
    return dataclasses.replace(shape, own=ATTENTION[shape.attention].own_of(shape, heads.tolist()))
