"""Spaces of dimensions: what a layer has of each, and the gates that masks of them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ...encoder.gating.limits import limits
from ...encoder.shape.config import LayerShape, TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import ATTENTION
from ...encoder.shape.points import POINTS
from ...errors import TrimformerError

Space = Literal["inputs", "query_key", "values", "ffn", "heads"]
IN_HEADS = ("query_key", "values")
"""Spaces of dimensions that every head has: one mask for all heads of a layer."""


def has(space: str, shape: LayerShape) -> bool:
    """Whether a layer has what the masks of a space are of."""
    kind = ATTENTION[shape.attention]
    if space == "ffn":
        return shape.ffn > 0
    return kind.attends if space == "query_key" else kind.has_values


def sizes_of(space: str, config: TrimformerConfig) -> list[int]:
    """How many dimensions each layer has."""
    return [size[-1] for size in POINTS[space].sizes(config)]


def check_space(space: str, config: TrimformerConfig, setting: str) -> None:
    """Raise TrimformerError where this encoder cannot lose any of a space, or has nothing of it.

    setting: that names the space.
    """
    limits(config).require(space, f"leave {space} out of {setting}")
    if not any(has(space, shape) for shape in config.shapes):
        raise TrimformerError(f"No layer of this encoder has any {space}: leave {space} out of {setting}.")


def gates_of(masks: Mapping[str, Sequence[Tensor]], config: TrimformerConfig) -> Gates:
    """The gates of an encoder. masks: of each space one for each layer, (dimensions,)."""
    given: dict[str, Any] = {}
    for space, own in masks.items():
        every = zip(own, config.shapes, strict=True)
        given[space] = [mask.expand(shape.heads, -1) if space in IN_HEADS else mask for mask, shape in every]
    return Gates(**given)


def whole(spaces: Sequence[str], config: TrimformerConfig) -> Gates:
    """Gates of ones: all stays."""
    return gates_of({space: [torch.ones(size) for size in sizes_of(space, config)] for space in spaces}, config)
