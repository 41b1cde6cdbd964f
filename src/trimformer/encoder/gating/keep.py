"""What gates keep of an encoder: the smaller configuration, and which parts of which weights belong to it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import TrimformerError
from ...saved.exits import ExitShape
from ..parts.axes import Axes, Axis, axis_of, values_of
from ..parts.linear.base import kind_of
from ..shape.config import LayerShape, TrimformerConfig
from ..shape.embedding import EmbeddingShape
from ..shape.gates import Gates
from ..shape.kinds import LAYERS, POSITIONS
from ..shape.points import POINTS
from .limits import limits

LAYER_NAME = re.compile(r"^(encoder\.)?layers\.(\d+)\.")
EXIT_NAME = re.compile(r"^exits\.(\d+)\.")


@dataclasses.dataclass(frozen=True)
class Kept:
    """config: of the smaller encoder. layers: the former number of each of its layers.

    axes: for each layer, by its former number, what is kept of its axes; shared: of those that all have. An axis that
    is not named is kept whole. fresh: weights that the smaller model has and the model has not, by name.
    """

    config: TrimformerConfig
    layers: Sequence[int]
    axes: Sequence[dict[str, Axis]]
    shared: dict[str, Axis]
    fresh: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def source(self, name: str) -> str:
        """The former name of a weight."""
        if (exit_ := EXIT_NAME.match(name)) is not None:
            return f"exits.{self.layers[int(exit_[1])]}.{name[exit_.end() :]}"
        found = LAYER_NAME.match(name)
        if found is None:
            return name
        return f"{found[1] or ''}layers.{self.layers[int(found[2])]}.{name[found.end() :]}"

    def of(self, name: str, axes: Axes) -> list[Axis | None]:
        """What is kept of the axes of a weight, by its name in the smaller encoder."""
        found = LAYER_NAME.match(name)
        own = {} if found is None else self.axes[self.layers[int(found[2])]]
        return [None if axis is None else (self.shared | own).get(axis) for axis in axes]


def axes_of(model: nn.Module) -> dict[str, Axes]:
    """The names of the axes of every weight of a model, as its parts say them.

    Raises TrimformerError for a weight that no part names: nobody knows what would have to be cut of it.
    """
    found = {f"{place}.{name}".lstrip("."): axes for place, name, axes in _named_axes(model)}
    unknown = [name for name in model.state_dict() if name not in found]
    if unknown:
        raise TrimformerError(
            f"No part says what the axes of the weight {unknown[0]} are, so that it cannot be trimmed: the part that "
            "has it must name them (`axes`)."
        )
    return found


def _named_axes(model: nn.Module) -> Iterator[tuple[str, str, Axes]]:
    for place, part in model.named_modules(remove_duplicate=False):
        for name, axes in getattr(part, "axes", {}).items():
            weight = getattr(part, name, None)
            if isinstance(weight, nn.Parameter):
                yield place, name, axes
            elif isinstance(weight, nn.Module):
                kind = kind_of(weight)
                own = {"weight": axes, "bias": axes[:1]} if kind is None else kind.axes(*axes)
                for leaf, given in own.items():
                    yield place, f"{name}.{leaf}", given


def sliced(name: str, weight: Tensor, axes: Sequence[Axis | None], shape: torch.Size) -> Tensor:
    """The part of a weight that is kept; raises TrimformerError where its shape is not the given one."""
    for dimension, axis in enumerate(axes):
        if axis is None:
            continue
        if len(axis.rows) != weight.shape[dimension] or not torch.equal(axis.rows, torch.arange(len(axis.rows))):
            weight = weight.index_select(dimension, axis.rows.to(weight.device))
        if axis.factor is not None:
            factor = axis.factor.to(weight.device, weight.dtype)
            weight = weight * factor.reshape(-1, *[1] * (weight.ndim - dimension - 1))
    if weight.shape != shape:
        raise TrimformerError(
            f"The weight {name} would have shape {tuple(weight.shape)} after trimming, but its layer needs "
            f"{tuple(shape)}: correct the axes that its part names, or the shape that its part gives the layer."
        )
    return weight


def kept_by(gates: Gates, config: TrimformerConfig) -> Kept:
    """What these gates keep; those of attention and positions are in the attention kinds of the configuration already.

    Raises TrimformerError for gates that are not of the encoder's sizes, for soft gates of layers, and for what it
    cannot lose.
    """
    count = config.num_hidden_layers
    for name, given in gates.given.items():
        if POINTS[name].per_layer and len(given) != count:
            raise TrimformerError(f"There are {name} gates for {len(given)} layers, but the model has {count}.")
    layers = _layers(gates, config)
    kind = LAYERS[config.layer_kind]
    cut: list[tuple[LayerShape, dict[str, Axis]]] = [
        kind.cut(config, shape, gates.layer(index), f"layer {index}") for index, shape in enumerate(config.shapes)
    ]
    groups = config.sharing or list(range(count))
    for index in layers:
        first = next(other for other in layers if groups[other] == groups[index])
        if not _same(cut[first][1], cut[index][1]):
            raise TrimformerError(
                f"Layers {first} and {index} share their weights: their gates of heads, units and dimensions must be "
                "the same."
            )
    positions = POSITIONS[config.attention_positions]
    shapes, changes, shared = positions.cut(config, [cut[index][0] for index in layers])
    changes |= {
        "layers": [shape.to_dict() for shape in shapes],
        "sharing": config.sharing
        and [next(n for n, other in enumerate(layers) if groups[other] == groups[index]) for index in layers],
        "exits": _exits(config, layers),
        "split_layers": sum(index < config.split_layers for index in layers),
        "nested": None,  # what is cut out of a model is trained for itself from now on
    }
    fresh: dict[str, Tensor] = {}
    if gates.hidden is not None:
        hidden = _hidden(gates, config)
        shared |= {"hidden": Axis(hidden.rows), "stream": hidden}
        changes |= {
            "hidden_size": len(hidden.rows),
            "classifier_size": config.classifier_size or config.hidden_size,
        }
        if config.embedding is not None:
            before = EmbeddingShape.read(config.embedding)
            after = before.cut(config.hidden_size, len(hidden.rows))
            changes["embedding"] = after.to_dict()
            if after != before:
                fresh["head.dense.0.linear.weight"] = torch.eye(config.hidden_size)[:, hidden.rows]
    return Kept(type(config).from_dict(config.to_dict() | changes), layers, [axes for _, axes in cut], shared, fresh)


def _exits(config: TrimformerConfig, layers: Sequence[int]) -> dict[str, Any] | None:
    """The exits behind the layers that stay, under their new numbers."""
    kept = None if config.exits is None else ExitShape.read(config.exits).kept(layers)
    return None if kept is None else kept.to_dict()


def _layers(gates: Gates, config: TrimformerConfig) -> list[int]:
    values = values_of(gates, "layers", (config.num_hidden_layers,))
    if not ((values == 0) | (values == 1)).all():
        raise TrimformerError(f"Gates of layers must be hard (0 or 1) to trim, got {values.tolist()}.")
    layers: list[int] = values.nonzero().flatten().tolist()
    if not layers:
        raise TrimformerError("All layers are gated off: at least one must stay.")
    why = limits(config).first_stays
    if why is not None and layers[0] != 0:
        raise TrimformerError(f"The first layer of a {config.layer_kind} encoder cannot be removed: {why}.")
    return layers


def _hidden(gates: Gates, config: TrimformerConfig) -> Axis:
    axis = axis_of(values_of(gates, "hidden", (config.hidden_size,)))
    if not len(axis.rows):
        raise TrimformerError("All hidden dimensions are gated off: at least one must stay.")
    if len(axis.rows) < config.hidden_size:
        limits(config).require("hidden", "leave their gates at 1")
    return axis


def _same(one: dict[str, Axis], other: dict[str, Axis]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(axis.rows, other[name].rows) and _equal(axis.factor, other[name].factor)
        for name, axis in one.items()
    )


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))
