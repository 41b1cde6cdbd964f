"""MobileBERT's layer: attention and stacked feed-forward blocks in a narrow body between two linear maps.

Sun, Yu, Song, Liu, Yang and Zhou, "MobileBERT", 2020, sections 3.1 to 3.3: queries and keys share one map to the width
of the body, values read the stream itself, and an affine map stands in the place of each LayerNorm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import LAYERS
from ..axes import Axes
from ..components import OWN, Component
from ..exported import PADDED_SCORE, ExportedTokens
from ..linear.base import Number
from ..norms import NoNorm
from ..sizes import Sizes
from ..tokens import Tokens
from ..trace import AttentionTrace
from .base import NOTHING_TO_LOSE, Layer


def bottleneck_shape(body: int, heads: int, blocks: int, units: int) -> LayerShape:
    """The shape of a layer: the width of its body, its heads, its feed-forward blocks and the units of each."""
    return LayerShape("none", 1, 1, 0, cell={"body": body, "heads": heads, "blocks": blocks, "units": units})


class Block(nn.Module):
    """A feed-forward block of the body: (…, body) -> the same."""

    axes: ClassVar[dict[str, Axes]] = {"ffn_in": (None, None), "ffn_out": (None, None), "norm": (None,)}

    def __init__(self, body: int, units: int, activation: str) -> None:
        super().__init__()
        self.ffn_in, self.ffn_out = nn.Linear(body, units), nn.Linear(units, body)
        self.activation, self.norm = ACT2FN[activation], NoNorm(body)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(x + self.ffn_out(self.activation(self.ffn_in(x))))
        return found


@LAYERS.add("bottleneck")
class BottleneckLayer(Layer):
    """NoNorm(x + up(blocks(NoNorm(down(x) + attention(x)))))."""

    kind = "bottleneck"
    about = "attention and stacked feed-forward blocks in a narrow body, without LayerNorm (MobileBERT)"
    mixes = True
    keeps = dict.fromkeys((*NOTHING_TO_LOSE, "hidden"), "the sizes of its body hang together")
    settings = ("body", "heads", "blocks", "units")
    examples = (bottleneck_shape(8, 2, 3, 12), bottleneck_shape(6, 1, 1, 5))
    axes = dict.fromkeys(("down", "shared", "query", "key", "value", "output", "up"), (None, None)) | dict.fromkeys(
        ("down_norm", "shared_norm", "attention_norm", "up_norm"), (None,)
    )
    components = {  # noqa: RUF012  (never written to)
        OWN: Component.ATTENTION,
        **dict.fromkeys(("down", "down_norm", "shared", "shared_norm", "query", "key", "value"), Component.BEFORE),
        **dict.fromkeys(("output", "attention_norm"), Component.AFTER),
        **dict.fromkeys(("blocks", "up", "up_norm"), Component.FEED_FORWARD),
    }

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        super().__init__(config, shape, first)
        d, body, cell = config.hidden_size, shape.cell["body"], shape.cell
        self.heads = cell["heads"]
        self.down, self.down_norm = nn.Linear(d, body), NoNorm(body)
        self.shared, self.shared_norm = nn.Linear(d, body), NoNorm(body)
        self.query, self.key, self.value = nn.Linear(body, body), nn.Linear(body, body), nn.Linear(d, body)
        self.output, self.attention_norm = nn.Linear(body, body), NoNorm(body)
        self.blocks = nn.ModuleList(Block(body, cell["units"], config.hidden_act) for _ in range(cell["blocks"]))
        self.up, self.up_norm = nn.Linear(body, d), NoNorm(d)

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            if tokens.trace is not None:
                tokens.trace[self.attention] = AttentionTrace(query, key, value, query.shape[-1] ** -0.5, None, None)
            return F.scaled_dot_product_attention(query, key, value, tokens.keys)

        return self.read(x, tokens.of(x), attend)

    def read(self, x: Tensor, own: Tensor, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """The layer for the first tokens of (batch, n, hidden), ``own``. attend: of (batch, heads, n, size) each."""
        shared = self.shared_norm(self.shared(x))
        query, key = self.split(self.query(shared[:, : own.shape[1]])), self.split(self.key(shared))
        context = attend(query, key, self.split(self.value(x))).transpose(1, 2).flatten(2)
        y = self.attention_norm(self.down_norm(self.down(own)) + self.output(context))
        for block in self.blocks:
            y = block(y)
        found: Tensor = self.up_norm(own + self.dropout(self.up(y)))
        return found

    def split(self, x: Tensor) -> Tensor:
        """(batch, n, body) -> (batch, heads, n, size)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        super().check(shape)
        sizes = [shape.cell.get(name) for name in cls.settings]
        if not all(isinstance(size, int) and size > 0 for size in sizes) or shape.cell["body"] % shape.cell["heads"]:
            raise TrimformerError(
                f"A layer of kind bottleneck has {', '.join(cls.settings)}, whole numbers of at least 1 of which heads "
                f"divides body, got {shape}."
            )

    @classmethod
    def attending(cls, shape: LayerShape) -> LayerShape:
        body, heads = shape.cell["body"], shape.cell["heads"]
        return LayerShape("full", heads, body // heads, 0)

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, first: bool) -> dict[str, Number]:
        d, body, units, blocks = sizes.hidden, *(shape.cell[name] for name in ("body", "units", "blocks"))
        return {
            "bottleneck": 2 * (d + 3) * body + (body + 3) * d,
            "body attention": (d + 1) * body + 3 * (body + 1) * body + 2 * body,
            "body blocks": blocks * ((body + 1) * units + (units + 3) * body),
        }

    @classmethod
    def flops(
        cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int, left: Number | None = None
    ) -> Number:
        """2d(2n + 2r)b for the maps from and to a body b wide, 2b²(n + 2r) + 4rnb for attention, 4rbu for a block."""
        d, body, units, blocks = sizes.hidden, *(shape.cell[name] for name in ("body", "units", "blocks"))
        maps = 4 * d * body * (n + rows) + 2 * body**2 * (n + 2 * rows)
        return maps + 4 * rows * n * body + 4 * rows * body * units * blocks

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedBottleneck(self, first_only)


class ExportedBottleneck(nn.Module):
    """The same, its attention in operations that all runtimes have."""

    def __init__(self, layer: BottleneckLayer, first_only: bool) -> None:
        super().__init__()
        self.layer, self.first_only = layer, first_only
        self.components = layer.components

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        padding = (1 - shared.mask.to(x.dtype))[:, None, None] * PADDED_SCORE

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            return torch.softmax(scores + padding, -1) @ value

        return self.layer.read(x, x[:, :1] if self.first_only else x, attend)
