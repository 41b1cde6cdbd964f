"""What gates keep of an encoder: the smaller configuration, and which parts of which weights belong to it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import TrimformerError
from ..shape.config import AttentionKind, LayerShape, TrimformerConfig, lesser
from ..shape.gates import Gates

# The axes of the weights of each module: of a bias only the first. ``stream``: hidden dimensions that are written, and
# so get the factors of soft gates; ``hidden``: those that are read. So for ``outputs`` and ``values``, ``units`` and
# ``ffn``, ``query`` and ``key``.
LAYER_AXES: dict[str, tuple[str | None, ...]] = {
    "attention.query": ("query", "hidden"),
    "attention.key": ("key", "hidden"),
    "attention.value": ("values", "hidden"),
    "attention.output": ("stream", "outputs"),
    "attention.conv": ("stream",),
    "attention.relative.query": ("key", None),
    "attention.relative.key": ("key", None),
    "attention_norm": ("hidden",),
    "ffn_in": ("ffn", "hidden"),
    "ffn_gate": ("ffn", "hidden"),
    "ffn_out": ("stream", "units"),
    "ffn_norm": ("hidden",),
}
MODEL_AXES: dict[str, tuple[str | None, ...]] = {
    "embeddings.word": (None, "stream"),
    "embeddings.position": (None, "stream"),
    "embeddings.segment": (None, "stream"),
    "embeddings.norm": ("hidden",),
    "embeddings.projection": ("stream", None),
    "norm": ("hidden",),
    "head.dense": (None, "hidden"),
    "head.output": (None, "hidden"),
}
LAYER_NAME = re.compile(r"^(encoder\.)?layers\.(\d+)\.")


class Axis(NamedTuple):
    """What is kept of an axis of weights: these ``rows``, each times its ``factor`` where there are factors."""

    rows: Tensor
    factor: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Kept:
    """config: of the smaller encoder. layers: the former number of each of its layers.

    axes: for each layer, by its former number, what is kept of its axes; shared: of those that all have. What is not
    named is kept whole.
    """

    config: TrimformerConfig
    layers: Sequence[int]
    axes: Sequence[dict[str, Axis]]
    shared: dict[str, Axis]

    def source(self, name: str) -> str:
        """The former name of a weight."""
        found = LAYER_NAME.match(name)
        if found is None:
            return name
        return f"{found[1] or ''}layers.{self.layers[int(found[2])]}.{name[found.end() :]}"

    def of(self, name: str) -> list[Axis | None]:
        """The axes of a weight, by its name in the smaller encoder."""
        found = LAYER_NAME.match(name)
        module = name.removeprefix("encoder.") if found is None else name[found.end() :]
        names = (MODEL_AXES if found is None else LAYER_AXES).get(module.rpartition(".")[0], ())
        if module.startswith("embeddings.") and self.config.embedding_size is not None and "stream" not in names[:1]:
            return []  # tables whose width is their own
        own = {} if found is None else self.axes[self.layers[int(found[2])]]
        return [(self.shared | own).get(axis or "") for axis in names]


def sliced(name: str, weight: Tensor, kept: Kept, shape: torch.Size) -> Tensor:
    """The part of a weight that is kept, which has this shape in the smaller encoder.

    An axis of another length is not meant: that of a head whose first layer has a width of its own.
    """
    for dimension, axis in enumerate(kept.of(name)[: weight.ndim]):
        if axis is None or shape[dimension] != len(axis.rows):
            continue
        if weight.shape[dimension] != shape[dimension]:
            weight = weight.index_select(dimension, axis.rows.to(weight.device))
        if axis.factor is not None:
            factor = axis.factor.to(weight.device, weight.dtype)
            weight = weight * factor.reshape(-1, *[1] * (weight.ndim - dimension - 1))
    return weight


def kept_by(gates: Gates, config: TrimformerConfig) -> Kept:
    """What these gates keep; those of attention and positions are in the attention kinds of the configuration already.

    Raises TrimformerError for gates that are not of the encoder's sizes, for soft gates of layers, and for what it
    cannot lose.
    """
    count = config.num_hidden_layers
    for name in ("layers", "heads", "values", "query_key", "ffn"):
        given = getattr(gates, name)
        if given is not None and len(given) != count:
            raise TrimformerError(f"There are {name} gates for {len(given)} layers, but the model has {count}.")
    layers = _layers(gates, config)
    cut = [_cut(gates, config, index) for index in range(count)]
    groups = config.sharing or list(range(count))
    for index in layers:
        first = next(other for other in layers if groups[other] == groups[index])
        if not _same(cut[first][1], cut[index][1]):
            raise TrimformerError(
                f"Layers {first} and {index} share their weights: their gates of heads, units and dimensions must be "
                "the same."
            )
    changes: dict[str, Any] = {
        "layers": [dataclasses.asdict(cut[index][0]) for index in layers],
        "sharing": config.sharing
        and [next(n for n, other in enumerate(layers) if groups[other] == groups[index]) for index in layers],
    }
    shared = {}
    if gates.hidden is not None:
        hidden = _hidden(gates, config)
        shared = {"hidden": Axis(hidden.rows), "stream": hidden}
        changes |= {
            "hidden_size": len(hidden.rows),
            "classifier_size": config.classifier_size or config.hidden_size,
        }
    return Kept(type(config).from_dict(config.to_dict() | changes), layers, [axes for _, axes in cut], shared)


def _layers(gates: Gates, config: TrimformerConfig) -> list[int]:
    values = _values(gates.layers, (config.num_hidden_layers,), "the layers")
    if not ((values == 0) | (values == 1)).all():
        raise TrimformerError(f"Gates of layers must be hard (0 or 1) to trim, got {values.tolist()}.")
    layers: list[int] = values.nonzero().flatten().tolist()
    if not layers:
        raise TrimformerError("All layers are gated off: at least one must stay.")
    if config.pre_norm and layers[0] != 0:
        raise TrimformerError(
            "The first layer of a pre-norm encoder cannot be removed: it works without the norm that the others have."
        )
    return layers


def _hidden(gates: Gates, config: TrimformerConfig) -> Axis:
    axis = _axis(_values(gates.hidden, (config.hidden_size,), "the hidden dimensions"))
    if not len(axis.rows):
        raise TrimformerError("All hidden dimensions are gated off: at least one must stay.")
    if config.attention_positions == "disentangled" and len(axis.rows) < config.hidden_size:
        raise TrimformerError(
            "This encoder cannot lose hidden dimensions: its table of relative positions (DeBERTa) is as wide as they."
        )
    return axis


def _cut(gates: Gates, config: TrimformerConfig, index: int) -> tuple[LayerShape, dict[str, Axis]]:
    """The smaller shape of a layer and its axes. The sizes of parts that a layer does not have follow, too."""
    shape, own = config.shapes[index], gates.layer(index)
    where = f"layer {index}"
    units = _axis(_values(own.ffn, (shape.ffn,), f"the units of {where}"))
    axes = {"ffn": Axis(units.rows), "units": units}
    changed = dataclasses.replace(shape, ffn=len(units.rows))
    heads = _values(own.heads, (shape.heads,), f"the heads of {where}")
    values = _values(own.values, (shape.heads, shape.head_size), f"the values of {where}") * heads[:, None]
    scores = _values(own.query_key, (shape.heads, shape.query_key_size), f"the queries and keys of {where}")
    alive = (values != 0).any(1)
    if not alive.any():
        if shape.attention != "conv":
            left: AttentionKind = "bias" if config.attention_bias else "none"
            return dataclasses.replace(changed, attention=lesser(shape.attention, left)), axes
        alive[0] = True  # a conv layer needs a mean, if only of one value that is 0
    _check_positions(config, shape, alive, scores, index)
    if not scores[alive].any() and shape.attention == "full" and _scores_are_all(config, shape):
        changed = dataclasses.replace(changed, attention="mean")  # equal scores: all tokens weigh the same
    of_values, of_scores = _in_heads(values, alive), _in_heads(scores, alive)
    size, query_key = len(of_values.rows) // int(alive.sum()), len(of_scores.rows) // int(alive.sum())
    said = query_key != size and (changed.attention == "full" or config.sharing is not None)
    changed = dataclasses.replace(
        changed, heads=int(alive.sum()), head_size=size, query_key=query_key if said else None
    )
    axes |= {"values": Axis(of_values.rows), "outputs": of_values, "key": Axis(of_scores.rows), "query": of_scores}
    if query_key != shape.query_key_size:  # scores are divided by the root of their dimensions
        factor = torch.ones(len(of_scores.rows)) if of_scores.factor is None else of_scores.factor
        axes["query"] = of_scores._replace(factor=factor.double() * (query_key / shape.query_key_size) ** 0.5)
    return changed, axes


def _scores_are_all(config: TrimformerConfig, shape: LayerShape) -> bool:
    """Whether nothing but queries and keys decides where a token attends."""
    return config.attention_positions == "none" and shape.window is None


def _check_positions(config: TrimformerConfig, shape: LayerShape, alive: Tensor, scores: Tensor, index: int) -> None:
    if shape.attention != "full":
        return
    if config.attention_positions == "relative_bias" and not alive.all():
        raise TrimformerError(
            f"Layer {index} cannot lose some of its heads: all layers share one table with a bias for each head."
        )
    if config.attention_positions in ("rotary", "disentangled") and not scores[alive].all():
        raise TrimformerError(
            f"Layer {index} cannot lose dimensions of its queries and keys: the positions are in them."
        )


def _in_heads(gates: Tensor, alive: Tensor) -> Axis:
    """Of (heads, size) the dimensions that are kept, as many in each living head as in that which keeps most.

    At least one; a head that keeps fewer gets others with the factor 0.
    """
    size = max(1, int((gates[alive] != 0).sum(1).max()))
    chosen = torch.sort((gates == 0).int(), dim=1, stable=True).indices[:, :size].sort(1).values[alive]
    rows = alive.nonzero().flatten()[:, None]
    return _with_factor((rows * gates.shape[1] + chosen).flatten(), gates[rows, chosen].flatten())


def _axis(gates: Tensor) -> Axis:
    index = gates.nonzero().flatten()
    return _with_factor(index, gates[index])


def _with_factor(index: Tensor, factor: Tensor) -> Axis:
    return Axis(index, None if (factor == 1).all() else factor)


def _values(given: Tensor | None, shape: tuple[int, ...], what: str) -> Tensor:
    """The gates on the CPU; ones where none are given."""
    if given is None:
        return torch.ones(shape)
    if tuple(given.shape) != shape:
        raise TrimformerError(f"The gates of {what} have shape {tuple(given.shape)} instead of {shape}.")
    return given.detach().cpu()


def _same(one: dict[str, Axis], other: dict[str, Axis]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(axis.rows, other[name].rows) and _equal(axis.factor, other[name].factor)
        for name, axis in one.items()
    )


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))
