"""The dense model cut to given sizes: gates that keep layers evenly spread, and of each axis what weighs most.

What a head, unit or dimension weighs is the sum of the squares of all weights that would go with it, each matrix
counted by its mean: the norm of a group of weights (Fang et al., "DepGraph", 2023, section 3.3). It needs no data.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..encoder.gating.keep import LAYER_NAME, axes_of
from ..encoder.gating.limits import limits
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.gates import Gates
from ..encoder.shape.points import POINTS
from ..errors import TrimformerError
from ..methods.structure.importance import largest

AXES = {
    "heads": ("values", "outputs"),
    "values": ("values", "outputs"),
    "query_key": ("query", "key"),
    "ffn": ("ffn", "units"),
    "hidden": ("hidden", "stream", "inputs"),
}
"""The axes of weights that go with a gate point."""


class Sizes(Protocol):
    """layers, hidden dimensions, heads of each layer, and units of its feed-forward block."""

    layers: int
    hidden: int
    heads: int
    ffn: int


def head_size_of(sizes: Sizes) -> int:
    """Dimensions of a head; raises TrimformerError where the heads do not divide the width."""
    if sizes.hidden % sizes.heads:
        raise TrimformerError(
            f"start.shape: {sizes.heads} heads do not divide a width of {sizes.hidden}: choose numbers that fit."
        )
    return sizes.hidden // sizes.heads


def spread(kept: int, layers: int) -> list[int]:
    """Layers at even distances, the first one among them, where the input is read."""
    return [index * layers // kept for index in range(kept)]


def gates_to(sizes: Sizes, config: TrimformerConfig, model: nn.Module | None = None) -> Gates:
    """Hard gates that leave a shape of an encoder. model: whose weights decide; None: any choice, of the same shape.

    Raises TrimformerError where the shape is larger than the encoder, or needs what it cannot lose.
    """
    head_size = head_size_of(sizes)
    layers = spread(sizes.layers, config.num_hidden_layers)
    shapes = [config.shapes[index] for index in layers]
    _require("layers", sizes.layers, config.num_hidden_layers)
    _require("hidden", sizes.hidden, config.hidden_size)
    _require("heads", sizes.heads, min(shape.heads for shape in shapes))
    _require("heads", head_size, min(min(s.head_size, s.query_key_size) for s in shapes), " of this many dimensions")
    _require("ffn", sizes.ffn, min(shape.ffn for shape in shapes))
    wanted = {
        "heads": sizes.heads,
        "values": head_size,
        "query_key": head_size,
        "ffn": sizes.ffn,
        "hidden": sizes.hidden,
    }
    found: dict[str, Any] = {}
    for point, count in wanted.items():
        whole = POINTS[point].sizes(config)
        if all(size[-1] == count for size in whole):
            continue
        limits(config).require(point, "start the shape with random weights")
        gates = [_best(scores, count) for scores in _scores(model, config, point)]
        found[point] = gates if POINTS[point].per_layer else gates[0]
    kept = torch.tensor([float(index in layers) for index in range(config.num_hidden_layers)])
    return Gates(layers=kept, **found)


def _require(name: str, wanted: int, most: int, what: str = "") -> None:
    if wanted > most:
        raise TrimformerError(
            f"start.shape: {name}{what} {wanted} are more than the {most} of the dense model, whose weights are "
            "wanted: choose a smaller shape, or weights: random."
        )


def _best(scores: Tensor, count: int) -> Tensor:
    """Gates that keep the `count` largest of the last axis; all where there are fewer."""
    rows = scores.reshape(-1, scores.shape[-1])
    kept = [largest(row, torch.ones_like(row), count) for row in rows]
    return torch.stack(kept).reshape(scores.shape)


def _scores(model: nn.Module | None, config: TrimformerConfig, point: str) -> list[Tensor]:
    """What the parts at a gate point weigh: tensors of the sizes of its gates."""
    sizes = POINTS["values" if point == "heads" else point].sizes(config)
    totals = [torch.zeros(size) for size in sizes]
    weights = {} if model is None else model.state_dict()
    axes_by_name = {} if model is None else axes_of(model)
    for name in weights:
        layer = LAYER_NAME.match(name)
        index = 0 if layer is None or not POINTS[point].per_layer else int(layer[2])
        for dimension, axis in enumerate(axes_by_name[name]):
            if axis in AXES[point]:
                reads = config.shapes[int(layer[2])].reads if axis == "inputs" and layer is not None else None
                moved = weights[name].double().transpose(0, dimension).reshape(weights[name].shape[dimension], -1)
                squares = moved.square().sum(1)
                mean = squares.mean().clamp(min=torch.finfo(squares.dtype).tiny)
                into = totals[index].view(-1)
                into[slice(None) if reads is None else list(reads)] += (squares / mean).float()
    return [total.sum(-1) for total in totals] if point == "heads" else totals
