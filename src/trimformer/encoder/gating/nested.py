"""Models that hold smaller ones: those with the first heads and units of each layer, and with layers evenly spread.

Hou, Huang, Shang, Jiang, Chen and Liu, "DynaBERT: Dynamic BERT with Adaptive Width and Depth", 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import TrimformerError
from ..shape.config import TrimformerConfig
from ..shape.gates import Gates
from ..shape.points import POINTS


def kept_layers(depth: float, layers: int) -> list[int]:
    """The layers of the sub-network of a depth: ⌊i / depth⌋ for i < depth · layers, rounded, as published."""
    return [int(index / depth) for index in range(max(1, round(depth * layers)))]


def ordered(config: TrimformerConfig) -> bool:
    """Whether the first heads and units of each layer are those that matter most, because widths were trained."""
    return config.nested is not None and min(config.nested["widths"]) < 1


def nested_gates(config: TrimformerConfig, width: float, depth: float, device: torch.device | None = None) -> Gates:
    """Hard gates that keep the sub-network of a width and a depth: of each layer this share of its heads and units, the
    first ones, and at least one.
    """

    def first(point: str) -> list[Tensor] | None:
        if width == 1:
            return None
        sizes = [size for (size,) in POINTS[point].sizes(config)]
        return [(torch.arange(size, device=device) < max(1, round(width * size))).float() for size in sizes]

    kept = kept_layers(depth, config.num_hidden_layers)
    layers = torch.tensor([float(index in kept) for index in range(config.num_hidden_layers)])
    return Gates(heads=first("heads"), ffn=first("ffn"), layers=None if depth == 1 else layers)


def subnetwork_gates(config: TrimformerConfig, width: float, depth: float) -> Gates:
    """As :func:`nested_gates`; raises TrimformerError where no sub-network of this width and depth was trained."""
    if config.nested is None:
        raise TrimformerError(
            "This model was not trained to hold smaller ones, so that a part of it would answer at random: train it by "
            "the method dynabert (trimformer compress MODEL --method dynabert), and trim what that leaves."
        )
    for name, wanted in (("width", width), ("depth", depth)):
        trained = config.nested[f"{name}s"]
        if wanted not in trained:
            known = ", ".join(f"{share:g}" for share in trained)
            raise TrimformerError(f"No {name} of {wanted:g} was trained in this model: choose one of {known}.")
    return nested_gates(config, width, depth)
