"""What every kind of attention is: its module, its weights and their axes, its cost, its times and its exported form.

A new kind is one file beside this one, or in an installed package: a subclass of :class:`Attention`, registered with
``@ATTENTION.add(name)``. Nothing else has a list of kinds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates, hard_value
from ...shape.kinds import ATTENTION, POSITIONS, left_of
from ...shape.ranges import to_ranges
from ..axes import Axes, Axis, axis_of, in_heads, values_of
from ..components import ATTENTION as ATTENTION_COMPONENTS
from ..components import Components
from ..linear.base import Number, flops, linear, params
from ..sizes import Inside, Sizes
from ..tokens import Tokens


class Times(Protocol):
    """A table of the device, as a kind of attention reads it."""

    def time(self, name: str, size: Number) -> Tensor:
        """Milliseconds of a piece of this name and size."""

    def most(self, name: str) -> int:
        """The largest size of a piece that was measured."""


class Attention(nn.Module):
    """No attention sub-layer, and no weights: the outline of all kinds.

    kind: its name. about: a line for people.
    mixes: whether a token's answer depends on other tokens. attends: whether it has queries and keys, so that positions
    enter and relations between tokens can be looked at. has_values: whether it has a value and an output map;
    needs_a_value: whether it cannot be without any, if only one that is 0.
    stands_in: whether methods may put it in the place of attention. starts_as: the kind whose answers it gives before
    it is trained, where that is another.
    becomes: the kinds that it can lose to; made_from: those whose weights are enough for it; grown_from: those that can
    become it, too, with new weights, which start as ``starts`` says, by name.
    settings: the fields of a shape's ``own`` that it reads. maps: the names of its linear maps, as a shape's ``maps``
    gives them.
    axes: the names of the axes of its weights, by module or parameter: of a linear map (outputs, inputs). ``stream``:
    hidden dimensions that are written, and so get the factors of soft gates; ``hidden``: those that are read. So for
    ``outputs`` and ``values``, ``query`` and ``key``. ``inputs``: those dimensions of the layer's input that are read.
    components: of a profile, by the names of its modules, see ``components.py``; the exported form has the same.
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    mixes: ClassVar[bool] = True
    attends: ClassVar[bool] = False
    has_values: ClassVar[bool] = True
    needs_a_value: ClassVar[bool] = False
    stands_in: ClassVar[bool] = False
    starts_as: ClassVar[str | None] = None
    becomes: ClassVar[tuple[str, ...]] = ()
    made_from: ClassVar[tuple[str, ...]] = ()
    grown_from: ClassVar[tuple[str, ...]] = ()
    starts: ClassVar[Mapping[str, float]] = {}
    settings: ClassVar[tuple[str, ...]] = ()
    maps: ClassVar[tuple[str, ...]] = ()
    axes: ClassVar[Mapping[str, Axes]] = {}
    components: ClassVar[Components] = ATTENTION_COMPONENTS
    query: Any
    key: Any
    value: Any
    output: Any
    inputs: Any

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__()
        self.heads = shape.heads
        # Maps that were trained for int8, each with its own rounding, do not become one in an exported file.
        self.folds = config.input_ranges is None

    # What it computes.

    def forward(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> Tensor | None:
        """What is added to the input (batch, n, hidden): the same shape, for the tokens that are asked for alone where
        not all are; (batch, 1, hidden) where all tokens receive the same; None where nothing is added.

        Under an attention gate: ``g * mix + (1 - g) * stand_in``; a hard gate needs only its own side.
        """
        if gates is None or gates.attention is None or left_of(self.kind, gates.removed) == self.kind:
            return self.mix(x, tokens, gates)
        gate, stand_in = gates.attention, ATTENTION[gates.removed]
        hard = hard_value(gate)
        if hard == 0:
            other: Tensor | None = stand_in.instead_of(self, x, tokens, gates)
            return other
        mixed = self.mix(x, tokens, gates)
        if hard == 1 or mixed is None:
            return mixed
        other = stand_in.instead_of(self, x, tokens, gates)
        return gate * mixed if other is None else gate * mixed + (1 - gate) * other

    def mix(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> Tensor | None:
        """The output without an attention gate."""
        return self.instead_of(self, x, tokens, gates)

    @classmethod
    def instead_of(cls, layer: Any, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor | None:
        """What this kind gives as it starts, with the value and output maps of another layer."""
        return None

    # Its shape.

    @classmethod
    def named(cls, text: str) -> dict[str, Any] | None:
        """The fields of a shape that a text names, None where it names another kind."""
        return {} if text == cls.kind else None

    @classmethod
    def without_pattern(cls, shape: LayerShape) -> LayerShape:
        """The layer in which every token attends to all: itself, where the kind has no pattern."""
        return shape

    @classmethod
    def maps_among(cls, maps: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a layer's linear maps that it has with this kind of attention."""
        return {name: given for name, given in maps.items() if name in cls.maps or not name.startswith("attention.")}

    @classmethod
    def shaped(cls, shape: LayerShape, **fields: Any) -> LayerShape:
        """A layer's shape with this kind of attention in it; raises TrimformerError where the fields do not fit."""
        own = {name: value for name, value in shape.own.items() if name in cls.settings}
        changes: dict[str, Any] = {"kernel": 0, "own": own, "maps": cls.maps_among(shape.maps)}
        changes |= {"tokens": shape.tokens if cls.attends else None} | fields
        return dataclasses.replace(shape, attention=cls.kind, **changes)

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        """Raise TrimformerError where the shape is not one of this kind."""
        if shape.kernel:
            raise TrimformerError(f"Layers of kind {cls.kind} take no kernel, got {shape}: set kernel to 0.")
        unknown = [name for name in shape.own if name not in cls.settings]
        if unknown:
            raise TrimformerError(
                f"Layers of kind {cls.kind} have no setting {unknown[0]!r}, got {shape}: remove it from own."
            )

    @classmethod
    def check_in(cls, config: TrimformerConfig, shape: LayerShape) -> None:
        """Raise TrimformerError where a layer of this kind cannot be one of this encoder."""

    @classmethod
    def cut(
        cls, config: TrimformerConfig, shape: LayerShape, gates: LayerGates, where: str
    ) -> tuple[LayerShape, dict[str, Axis]]:
        """What gates keep of a layer: its smaller shape, and what is kept of its axes.

        The sizes of parts that a layer does not have follow, too. All heads keep as many dimensions as the one that
        keeps most. Raises TrimformerError for gates of other sizes and for what cannot be lost.
        """
        values, scores = kept_values(shape, gates, where)
        inputs, columns = kept_inputs(config, shape, gates, where)
        shape = dataclasses.replace(shape, inputs=inputs)
        alive = (values != 0).any(1)
        if not alive.any():
            if not cls.needs_a_value:
                return without_values(config, shape), {}
            alive[0] = True
        of_values, of_scores = in_heads(values, alive), in_heads(scores, alive)
        heads = int(alive.sum())
        size, query_key = len(of_values.rows) // heads, len(of_scores.rows) // heads
        said = query_key != size and (cls.attends or config.sharing is not None)
        changed = dataclasses.replace(
            shape,
            heads=heads,
            head_size=size,
            query_key=query_key if said else None,
            own=cls.own_of(shape, alive.nonzero().flatten().tolist()),
        )
        axes = {"values": Axis(of_values.rows), "outputs": of_values, "key": Axis(of_scores.rows), "query": of_scores}
        axes["inputs"] = columns
        if query_key != shape.query_key_size:  # scores are divided by the root of their dimensions
            factor = torch.ones(len(of_scores.rows)) if of_scores.factor is None else of_scores.factor
            axes["query"] = of_scores._replace(factor=factor.double() * (query_key / shape.query_key_size) ** 0.5)
        return changed, axes

    @classmethod
    def sees_all(cls, shape: LayerShape) -> bool:
        """Whether every token attends to all."""
        return cls.attends and shape.window is None

    @classmethod
    def own_of(cls, shape: LayerShape, heads: Sequence[int]) -> dict[str, Any]:
        """What it has of its own where these heads are left, in this order."""
        return dict(shape.own)

    # What it costs.

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes) -> dict[str, Number]:
        """Its weights; layers that share weights share those of the same name."""
        return value_params(config, shape, sizes) if cls.has_values else {}

    @classmethod
    def flops(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
        """Operations for one sequence of n tokens, computed for the first ``rows`` of them."""
        return 0

    # What is timed of it, for the table of the device. Where it computes nothing, nothing is.

    @classmethod
    def piece(cls, shape: LayerShape) -> str:
        """The name of the piece that its attention is."""
        return cls.kind

    @classmethod
    def knots(cls, config: TrimformerConfig, plain: LayerShape) -> Iterator[tuple[str, int, LayerShape]]:
        """The layers that are timed: the name of the piece, its size, and the layer; ``plain`` has no attention."""
        if cls.mixes:
            yield cls.kind, 0, cls.shaped(plain)

    @classmethod
    def milliseconds(cls, times: Times, shape: LayerShape, inside: Inside, place: str) -> Number:
        """The time of its attention. inside: its sizes, maybe soft. place: before the names, for the first token."""
        return times.time(f"{place}{cls.piece(shape)}", 0) if cls.mixes else 0.0

    # How it is exported.

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        """The module that stands for it in an exported graph: (batch, n, hidden), :class:`ExportedTokens` -> as above.

        positions: the mechanism of the encoder, where more is to be done than adding to the scores. first_only: for the
        first token alone.
        """
        return Nothing()


class Nothing(nn.Module):
    """Nothing is added."""

    def forward(self, x: Tensor, shared: Any) -> Tensor | None:
        return None


class OutputBias(nn.Module):
    """What is left of a linear map without inputs: (batch, n, …) -> (batch, 1, hidden); None where it has no bias."""

    def __init__(self, hidden: int, bias: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(hidden)) if bias else None

    def forward(self, x: Tensor) -> Tensor | None:
        return None if self.bias is None else self.bias.expand(x.shape[0], 1, -1)


class Inputs(nn.Module):
    """The dimensions that queries, keys and values read: (…, hidden) -> (…, inputs).

    dimensions: which, None: all.
    """

    def __init__(self, dimensions: Sequence[int] | None) -> None:
        super().__init__()
        # On the CPU also where a model is made without memory, since no file holds it.
        self.index = None if dimensions is None else torch.tensor(dimensions, device="cpu")

    def forward(self, x: Tensor, gates: LayerGates | None = None) -> Tensor:
        if self.index is not None:
            x = x.index_select(-1, self.index.to(x.device))
        return x if gates is None or gates.inputs is None else x * gates.inputs.to(x.dtype)


VALUE_MAPS = ("attention.value", "attention.output")
VALUE_AXES: dict[str, Axes] = {"value": ("values", "inputs"), "output": ("stream", "outputs")}


def make_values(module: Attention, config: TrimformerConfig, shape: LayerShape) -> None:
    """Give a kind of attention its value and output maps, and what these read."""
    bias = config.attention_bias
    module.inputs = Inputs(shape.reads)
    module.value = linear(shape, "attention.value", shape.input_size(config.hidden_size), shape.width, bias)
    module.output = linear(shape, "attention.output", shape.width, config.hidden_size, bias)


def give(layer: Any, context: Tensor, gates: LayerGates | None) -> Tensor:
    """The output map of what the heads have read, (batch, n, heads * head_size) -> (batch, n, hidden)."""
    given: Tensor = layer.output(context if gates is None else gates.scale_values(context, layer.heads))
    return given


def value_params(config: TrimformerConfig, shape: LayerShape, sizes: Sizes) -> dict[str, Number]:
    """Weights of the value and output maps."""
    d, value = sizes.hidden, params(shape, "attention.value", sizes.inputs, sizes.values)
    maps = value + params(shape, "attention.output", sizes.values, d)
    return {"values": maps + (sizes.values + d) * config.attention_bias}


def value_flops(shape: LayerShape, sizes: Sizes) -> Number:
    """Operations of the value and output maps for one row."""
    value = flops(shape, "attention.value", sizes.inputs, sizes.values)
    return value + flops(shape, "attention.output", sizes.values, sizes.hidden)


def kept_values(shape: LayerShape, gates: LayerGates, where: str) -> tuple[Tensor, Tensor]:
    """The gates of values, those of heads in them, and of queries and keys: (heads, size) each."""
    heads = values_of(gates, "heads", (shape.heads,), where)
    values = values_of(gates, "values", (shape.heads, shape.head_size), where) * heads[:, None]
    return values, values_of(gates, "query_key", (shape.heads, shape.query_key_size), where)


def kept_inputs(config: TrimformerConfig, shape: LayerShape, gates: LayerGates, where: str) -> tuple[str | None, Axis]:
    """What is left of the dimensions that a layer reads: ``inputs`` of its shape, and the columns of its weights.

    At least one is left, if only with the factor 0. Raises TrimformerError where none can be lost.
    """
    size = shape.input_size(config.hidden_size)
    given = values_of(gates, "inputs", (size,), where)
    keeps = POSITIONS[config.attention_positions].keeps
    if "inputs" in keeps and not (given == 1).all():
        raise TrimformerError(f"{where.capitalize()} cannot lose dimensions of its input: {keeps['inputs']}.")
    stays = values_of(gates, "hidden", (config.hidden_size,)) != 0
    dimensions = torch.arange(size) if shape.reads is None else torch.tensor(shape.reads)
    kept = given * stays[dimensions]
    if not kept.any():  # whichever is left, it counts for nothing
        return "0", Axis(torch.tensor([0]), torch.zeros(1))
    columns = axis_of(kept)
    left = (stays.cumsum(0) - 1)[dimensions[columns.rows]].tolist()
    return None if len(left) == stays.sum() else to_ranges(left), columns


def replaced(shape: LayerShape, stand_in: str) -> LayerShape:
    """What is left of a layer where another kind is to stand in for its attention."""
    kind = left_of(shape.attention, stand_in)
    found: LayerShape = shape if kind == shape.attention else ATTENTION[kind].shaped(shape)
    return found


def with_heads(shape: LayerShape, heads: int) -> LayerShape:
    """The shape of a layer of which the first heads alone are left, with what its kind has of its own for these."""
    own = ATTENTION[shape.attention].own_of(shape, range(heads))
    return dataclasses.replace(shape, heads=heads, own=own)


def without_values(config: TrimformerConfig, shape: LayerShape) -> LayerShape:
    """What is left of a layer none of whose heads gives anything: the bias of the output map, where there is one."""
    left = left_of(shape.attention, BIAS if config.attention_bias else NONE)
    found: LayerShape = ATTENTION[left].shaped(shape)
    return found


BIAS, NONE = "bias", "none"
