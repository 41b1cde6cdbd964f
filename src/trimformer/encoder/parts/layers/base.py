"""What every kind of layer is, and what those have in common that are attention and a feed-forward block.

A new kind is one file beside this one, or in an installed package: a subclass of :class:`Layer`, or of
:class:`AttentionLayer`, registered with ``@LAYERS.add(name)``. Nothing else has a list of kinds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers.activations import ACT2FN

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates, hard_value
from ...shape.kinds import ATTENTION
from ..attention.base import NONE, OutputBias, Times
from ..axes import Axes, Axis, axis_of, values_of
from ..components import Component, Components
from ..exported import ExportedTokens
from ..linear.base import Number, flops, linear, params
from ..norms import layer_norm
from ..sizes import Inside, Sizes
from ..tokens import Tokens


class Layer(nn.Module):
    """The outline of a layer: (batch, n, hidden) -> the same.

    kind, about: its name and a line for people. mixes: whether it mixes the tokens by itself, with no attention in it.
    keeps: the gate points at which nothing of it can be removed, and why. final_norm: whether such layers need a norm
    after the last of them. settings: the fields of a shape's ``cell`` that it reads. examples: the layers of a small
    encoder, for the laws, where no family has this kind. axes, components: as those of attention; residual sums
    belong to no component.
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    mixes: ClassVar[bool] = False
    keeps: ClassVar[Mapping[str, str]] = {"operations": "its layers are no cells"}
    final_norm: ClassVar[bool] = False
    first_stays: ClassVar[str | None] = None
    """Why the first layer cannot be removed, None where it can."""
    inner: ClassVar[tuple[str, ...]] = ()
    """The maps from the stream to the units of the feed-forward block."""
    settings: ClassVar[tuple[str, ...]] = ()
    examples: ClassVar[tuple[LayerShape, ...]] = ()
    axes: ClassVar[Mapping[str, Axes]] = {}
    components: ClassVar[Components] = {}

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        super().__init__()
        self.attention = ATTENTION[shape.attention](config, shape)
        self.tokens = shape.tokens
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    @property
    def whose(self) -> nn.Module:
        """The module that layers have in common where they share their weights."""
        return self

    # What it computes.

    def forward(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> tuple[Tensor, Tokens]:
        """The states (batch, n, hidden) after the layer, and their tokens: those that are asked for."""
        kept = tokens.of(x)
        if gates is not None and hard_value(gates.layers) == 0:
            return kept, tokens.left()
        tokens = tokens.handing_on(self.tokens, gates)
        y = self.run(x, tokens, gates)
        return (y if gates is None else gates.scale_layer(y, tokens.extract(kept, softly=False))), tokens.left()

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        """The layer itself, for the tokens that are asked for; one that attends extracts those that it hands on."""
        raise NotImplementedError

    # Its shape and its cost.

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        """Raise TrimformerError where the shape is not one of this kind."""
        unknown = [name for name in shape.cell if name not in cls.settings]
        if unknown:
            raise TrimformerError(
                f"Layers of kind {cls.kind} have no setting {unknown[0]!r}, got {shape}: remove it from cell."
            )
        if cls.mixes and shape.attention != NONE:
            raise TrimformerError(f"Layers of kind {cls.kind} have no attention, got {shape}: set it to {NONE}.")

    @classmethod
    def attending(cls, shape: LayerShape) -> LayerShape:
        """Heads and sizes of the queries, keys and values that it leaves in a trace, as of a layer of attention."""
        return shape

    @classmethod
    def count_operations(cls, shape: LayerShape) -> int:
        """How many operations its cell has."""
        return 0

    @classmethod
    def cut(
        cls, config: TrimformerConfig, shape: LayerShape, gates: LayerGates, where: str
    ) -> tuple[LayerShape, dict[str, Axis]]:
        """What gates keep of a layer: its smaller shape, and what is kept of its axes."""
        return shape, {}

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, first: bool) -> dict[str, Number]:
        """Weights of its parts; layers that share weights share those of the same name."""
        raise NotImplementedError

    @classmethod
    def flops(
        cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int, left: Number | None = None
    ) -> Number:
        """Operations for one sequence of n tokens, computed for the first ``rows`` of them.

        left: the tokens that are handed on, None: all that are computed.
        """
        raise NotImplementedError

    # What is timed of it, for the table of the device, beside its feed-forward block and norms.

    @classmethod
    def plain(cls, shape: LayerShape, units: int) -> LayerShape:
        """The layer with these units and, as far as it can be without, nothing that mixes the tokens."""
        nothing: LayerShape = ATTENTION[NONE].shaped(shape, query_key=None, inputs=None)
        return dataclasses.replace(nothing, ffn=units)

    @classmethod
    def knots(
        cls, config: TrimformerConfig, plain: LayerShape, kinds: Sequence[str]
    ) -> Iterator[tuple[str, int, LayerShape]]:
        """The layers that are timed: the name of the piece, its size, and the layer. kinds: of attention."""
        for kind in () if cls.mixes else kinds:
            yield from ATTENTION[kind].knots(config, plain)

    @classmethod
    def milliseconds(cls, times: Times, shape: LayerShape, inside: Inside, place: str) -> Number:
        """The time of what mixes the tokens. inside: its sizes, maybe soft. place: before the names, for the first."""
        found: Number = ATTENTION[shape.attention].milliseconds(times, shape, inside, place)
        return found

    # How it is exported.

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        """The module that stands for it in an exported graph: (batch, n, hidden), :class:`ExportedTokens` -> (batch, n,
        hidden), or (batch, 1, hidden) with ``first_only``. positions: as in attention."""
        raise NotImplementedError


NOTHING_TO_LOSE = dict.fromkeys(("heads", "values", "query_key", "ffn", "inputs", "operations"), "its layers have none")
"""What kinds keep that have neither attention nor a feed-forward block."""


class AttentionLayer(Layer):
    """Attention and a feed-forward block, put together with norms and residual sums.

    Its linear maps and norms keep the names that saved models have.
    """

    inner: ClassVar[tuple[str, ...]] = ("ffn_in",)
    axes: ClassVar[Mapping[str, Axes]] = {
        "attention_norm": ("hidden",),
        "ffn_in": ("ffn", "hidden"),
        "ffn_gate": ("ffn", "hidden"),
        "ffn_out": ("stream", "units"),
        "ffn_norm": ("hidden",),
    }
    components: ClassVar[dict[str, Component]] = {
        "attention_norm": Component.AFTER,
        **dict.fromkeys(("ffn_in", "ffn_gate", "activation", "ffn_out", "ffn_norm"), Component.FEED_FORWARD),
    }
    ffn_in: Any
    ffn_gate: Any

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        self.check_maps(shape, (*ATTENTION[shape.attention].maps, *self.inner, "ffn_out"))
        super().__init__(config, shape, first)
        self.attention_norm: nn.Module = layer_norm(config) if self.norm_before(shape, first) else nn.Identity()
        self.has_units = shape.ffn > 0
        for name in self.inner if self.has_units else ():
            self.add_module(name, linear(shape, name, config.hidden_size, shape.ffn, config.ffn_bias))
        self.ffn_out: Any = (
            linear(shape, "ffn_out", shape.ffn, config.hidden_size, config.ffn_bias)
            if self.has_units
            else OutputBias(config.hidden_size, config.ffn_bias)
        )
        self.ffn_norm = layer_norm(config)
        self.activation = ACT2FN[config.hidden_act]

    @property
    def whose(self) -> nn.Module:
        found: nn.Module = self.ffn_out
        return found

    @staticmethod
    def check_maps(shape: LayerShape, known: tuple[str, ...]) -> None:
        """Raise TrimformerError where the shape names a map that the layer does not have."""
        unknown = [name for name in shape.maps if name not in known]
        if unknown:
            raise TrimformerError(f"A layer has no map {unknown[0]!r}: its maps are {', '.join(known)}.")

    @classmethod
    def norm_before(cls, shape: LayerShape, first: bool) -> bool:
        """Whether the layer has a norm that belongs to its attention."""
        return True

    # What it computes.

    def feed_forward(self, x: Tensor, gates: LayerGates | None) -> Tensor | None:
        """What the block adds, None where nothing is left of it."""
        if self.has_units:
            x = self.units(x)
            x = x if gates is None else gates.scale_units(x)
        found: Tensor | None = self.ffn_out(x)
        return found

    def units(self, x: Tensor) -> Tensor:
        """The units of the block, (batch, n, ffn)."""
        raise NotImplementedError

    # Its shape and its cost.

    @classmethod
    def cut(
        cls, config: TrimformerConfig, shape: LayerShape, gates: LayerGates, where: str
    ) -> tuple[LayerShape, dict[str, Axis]]:
        units = axis_of(values_of(gates, "ffn", (shape.ffn,), where))
        kept = dataclasses.replace(shape, ffn=len(units.rows))
        if not kept.ffn:  # without units there is no map from or to them
            maps = {name: given for name, given in shape.maps.items() if name not in (*cls.inner, "ffn_out")}
            kept = dataclasses.replace(kept, maps=maps)
        smaller, axes = ATTENTION[shape.attention].cut(config, kept, gates, where)
        return smaller, {"ffn": Axis(units.rows), "units": units} | axes

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, first: bool) -> dict[str, Number]:
        d = sizes.hidden
        norm = d * (1 + config.norm_bias)
        inner: Number = sum(params(shape, name, d, sizes.ffn) for name in cls.inner)
        biases = (len(cls.inner) * sizes.ffn + d) * config.ffn_bias
        parts = {"ffn": inner + params(shape, "ffn_out", sizes.ffn, d) + biases + norm}
        if cls.norm_before(shape, first):
            parts["attention norm"] = norm
        return parts | ATTENTION[shape.attention].params(config, shape, sizes)

    @classmethod
    def flops(
        cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int, left: Number | None = None
    ) -> Number:
        d = sizes.hidden
        row = sum(flops(shape, name, d, sizes.ffn) for name in cls.inner) + flops(shape, "ffn_out", sizes.ffn, d)
        attention: Number = ATTENTION[shape.attention].flops(config, shape, sizes, n, rows)
        return attention + row * (rows if left is None else left)


class ExportedLayer(nn.Module):
    """What the exported forms of layers with attention have."""

    def __init__(self, layer: AttentionLayer, positions: Any, first_only: bool) -> None:
        super().__init__()
        self.first_only = first_only
        self.attention = layer.attention.exported(positions, first_only)
        self.attention.components = layer.attention.components
        self.layer = layer

    def add(self, x: Tensor, mixed: Tensor | None) -> Tensor:
        """The residual sum, for the first token alone with ``first_only``."""
        if self.first_only:
            x = x[:, :1]
        return x if mixed is None else x + mixed


class ExportedReader(nn.Module):
    """A layer that mixes the tokens by itself, from states and mask: runtimes have its operations as they are."""

    def __init__(self, layer: Layer, first_only: bool) -> None:
        super().__init__()
        self.layer: Any = layer
        self.components = layer.components
        self.first_only = first_only

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        y: Tensor = self.layer.read(x, shared.mask)
        return y[:, :1] if self.first_only else y
