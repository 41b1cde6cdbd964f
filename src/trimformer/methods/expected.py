"""What removals leave of a shape, worked out before any training and without weights."""

from __future__ import annotations

import copy

import torch

from ..encoder.gating.trim import trim
from ..encoder.model.body import TrimformerModel
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.gates import Gates
from ..encoder.shape.kinds import StandIn, left_of
from ..errors import TrimformerError


def shape_after(config: TrimformerConfig, gates: Gates) -> TrimformerConfig:
    """What trimming by these hard gates leaves; raises TrimformerError for what the encoder cannot lose."""
    with torch.device("meta"):
        model = TrimformerModel(copy.deepcopy(config))
    return trim(model, gates).config


def shape_keeping(config: TrimformerConfig, keep_layers: int | None, replace_by: StandIn) -> TrimformerConfig:
    """What is left where the first ``keep_layers`` of the layers that can lose their attention keep it; None: all do.

    Raises TrimformerError where there are fewer of these layers.
    """
    if keep_layers is None:
        return config
    able = removable(config, replace_by)
    if keep_layers > len(able):
        raise out_of_range("keep_layers", keep_layers, 0, len(able))
    return shape_after(config, keep_gates(config.num_hidden_layers, set(able[:keep_layers]), replace_by))


def removable(config: TrimformerConfig, replace_by: StandIn) -> list[int]:
    """The layers that have more than what would stand in for their attention."""
    return [i for i, shape in enumerate(config.shapes) if left_of(shape.attention, replace_by) != shape.attention]


def keep_gates(layers: int, keep: list[int] | set[int], replace_by: StandIn) -> Gates:
    """Hard attention gates that keep the given layers."""
    kept = torch.tensor([1.0 if index in keep else 0.0 for index in range(layers)])
    return Gates(attention=kept, removed=replace_by)


def out_of_range(name: str, value: int, least: int, most: int) -> TrimformerError:
    """The mistake of a setting that counts layers: ``keep`` whole ones, ``keep_layers`` those with attention."""
    what = "layers with attention" if name == "keep_layers" else "layers"
    return TrimformerError(
        f"{name}={value} is out of range: this encoder has {most} {what}, so keep {least} to {most}."
    )
