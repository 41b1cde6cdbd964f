"""What every kind of layer is: attention and a feed-forward block, put together with norms and residual sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers.activations import ACT2FN

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates, hard_value
from ...shape.kinds import ATTENTION
from ..attention.base import OutputBias
from ..axes import Axes, Axis, axis_of, values_of
from ..linear.base import Number, flops, linear, params
from ..norms import layer_norm
from ..sizes import Sizes
from ..tokens import Tokens


class Layer(nn.Module):
    """The outline of a layer. Its linear maps and norms keep the names that saved models have.

    kind, about: its name and a line for people. inner: the maps from the stream to the units of the feed-forward block.
    final_norm: whether such layers need a norm after the last of them. axes: as those of attention.
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    inner: ClassVar[tuple[str, ...]] = ("ffn_in",)
    final_norm: ClassVar[bool] = False
    first_stays: ClassVar[str | None] = None
    """Why the first layer cannot be removed, None where it can."""
    axes: ClassVar[Mapping[str, Axes]] = {
        "attention_norm": ("hidden",),
        "ffn_in": ("ffn", "hidden"),
        "ffn_gate": ("ffn", "hidden"),
        "ffn_out": ("stream", "units"),
        "ffn_norm": ("hidden",),
    }
    ffn_in: Any
    ffn_gate: Any

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        super().__init__()
        attention = ATTENTION[shape.attention]
        self.check_maps(shape, (*attention.maps, *self.inner, "ffn_out"))
        self.attention = attention(config, shape)
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
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

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

    def forward(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> tuple[Tensor, Tokens]:
        """The states (batch, n, hidden) after the layer, and their tokens: those that are asked for."""
        gate = None if gates is None else gates.layers
        hard, kept = hard_value(gate), tokens.of(x)
        if hard == 0:
            return kept, tokens.left()
        y = self.run(x, tokens, gates)
        return (y if gate is None or hard == 1 else gate * y + (1 - gate) * kept), tokens.left()

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        """The layer itself."""
        raise NotImplementedError

    def feed_forward(self, x: Tensor, gates: LayerGates | None) -> Tensor | None:
        """What the block adds, None where nothing is left of it."""
        if self.has_units:
            x = self.units(x)
            if gates is not None and gates.ffn is not None:
                x = x * gates.ffn.to(x.dtype)
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
        """What gates keep of a layer: its smaller shape, and what is kept of its axes."""
        units = axis_of(values_of(gates, "ffn", (shape.ffn,), where))
        kept = dataclasses.replace(shape, ffn=len(units.rows))
        if not kept.ffn:  # without units there is no map from or to them
            maps = {name: given for name, given in shape.maps.items() if name not in (*cls.inner, "ffn_out")}
            kept = dataclasses.replace(kept, maps=maps)
        smaller, axes = ATTENTION[shape.attention].cut(config, kept, gates, where)
        return smaller, {"ffn": Axis(units.rows), "units": units} | axes

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, first: bool) -> dict[str, Number]:
        """Weights of its parts; layers that share weights share those of the same name."""
        d = sizes.hidden
        norm = d * (1 + config.norm_bias)
        inner: Number = sum(params(shape, name, d, sizes.ffn) for name in cls.inner)
        biases = (len(cls.inner) * sizes.ffn + d) * config.ffn_bias
        parts = {"ffn": inner + params(shape, "ffn_out", sizes.ffn, d) + biases + norm}
        if cls.norm_before(shape, first):
            parts["attention norm"] = norm
        return parts | ATTENTION[shape.attention].params(config, shape, sizes)

    @classmethod
    def flops(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
        """Operations for one sequence of n tokens, computed for the first ``rows`` of them."""
        d = sizes.hidden
        row = sum(flops(shape, name, d, sizes.ffn) for name in cls.inner) + flops(shape, "ffn_out", sizes.ffn, d)
        attention: Number = ATTENTION[shape.attention].flops(config, shape, sizes, n, rows)
        return attention + row * rows

    # How it is exported.

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        """The module that stands for it in an exported graph: (batch, n, hidden), :class:`ExportedTokens` -> (batch, n,
        hidden), or (batch, 1, hidden) with ``first_only``. positions: as in attention."""
        raise NotImplementedError


class ExportedLayer(nn.Module):
    """What the exported forms of all kinds of layer have."""

    def __init__(self, layer: Layer, positions: Any, first_only: bool) -> None:
        super().__init__()
        self.first_only = first_only
        self.attention = layer.attention.exported(positions, first_only)
        self.layer = layer

    def add(self, x: Tensor, mixed: Tensor | None) -> Tensor:
        """The residual sum, for the first token alone with ``first_only``."""
        if self.first_only:
            x = x[:, :1]
        return x if mixed is None else x + mixed
