"""Multi-head self-attention."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import ATTENTION, POSITIONS
from ...shape.ranges import to_ranges
from ..axes import COLUMNS, Axis
from ..band import Band
from ..exported import ExportedTokens
from ..linear.base import Number, flops, kind_of, linear, params
from ..measured import knots
from ..patterns.base import Pattern
from ..sizes import Inside, Sizes
from ..tokens import Tokens, near
from ..trace import AttentionTrace
from .base import VALUE_AXES, VALUE_MAPS, Attention, Times, give, kept_values, make_values

# Score of a removed position. Any finite constant makes a fully removed row uniform; it must only lie far below
# every real score, and above that of padded keys so that padding stays strictly lower than "removed".
REMOVED_SCORE = -1e4
LEAST_FACTOR = 1e-30
"""Of an attention weight: the logarithm of a smaller one could be infinite."""


@ATTENTION.add("full")
class FullAttention(Attention):
    """(batch, n, hidden) -> (batch, n, hidden), or for the tokens that are asked for alone."""

    kind = "full"
    about = "full self-attention"
    attends = True
    becomes: ClassVar[tuple[str, ...]] = ("mean", "bias", "none")
    settings: ClassVar[tuple[str, ...]] = (COLUMNS,)
    maps = (*VALUE_MAPS, "attention.query", "attention.key")
    axes = VALUE_AXES | {"query": ("query", "inputs"), "key": ("key", "inputs")}

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__(config, shape)
        make_values(self, config, shape)
        self.head_size, self.query_key_size = shape.head_size, shape.query_key_size
        self.window, self.rotary = shape.window, shape.rotary
        self.pattern = self.pattern_of(shape)
        # What an exported graph, which takes texts of all lengths, is given.
        self.long_band = band_at(config, self.window, self.pattern, config.max_tokens)
        self.columns = tuple(shape.own[COLUMNS]) if COLUMNS in shape.own else None
        self.dropout = float(config.attention_probs_dropout_prob)
        for name in ("query", "key"):
            size, bias = shape.input_size(config.hidden_size), config.attention_bias
            self.add_module(name, linear(shape, f"attention.{name}", size, shape.query_key_width, bias))
        positions = POSITIONS[config.attention_positions]
        if (relative := positions.projections(config, shape)) is not None:
            self.relative = relative
        self.scale = (self.query_key_size * positions.products(config)) ** -0.5

    def mix(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> Tensor:
        return self.attend(x, tokens, gates, self.window, self.pattern)

    def attend(
        self, x: Tensor, tokens: Tokens, gates: LayerGates | None, window: int | None, pattern: Pattern | None
    ) -> Tensor:
        """The output where tokens attend within this window and in this pattern."""
        x = self.inputs(x, gates)
        query = self.split(self.query(tokens.of(x)))
        key, value = self.split(self.key(x)), self.split(self.value(x))
        if gates is not None and gates.query_key is not None:
            query = query * gates.query_key[:, None].to(query.dtype)
        query, key, bias = tokens.place(self, query, key)
        if tokens.trace is not None:
            tokens.trace[self] = AttentionTrace(query, key, value, self.scale, bias, window, pattern)
        dropout = self.dropout if self.training else 0.0
        positions, factors = (
            None if given is None else tokens.pairs(given)
            for given in ((None, None) if gates is None else (gates.positions, gates.contributions))
        )
        product = functools.partial(F.scaled_dot_product_attention, dropout_p=dropout, scale=self.scale)
        rows, n = query.shape[-2], key.shape[-2]
        free = positions is None and factors is None and tokens.ranking is None
        band = band_of(window, pattern) if free and bias is None else None
        if band is not None and rows == n >= band.long:
            context = band.attend(query, key, value, tokens.allowed(key, band), product)
        elif free and pattern is None:
            context = product(query, key, value, tokens.mask(query, key, bias, window))
        else:
            if pattern is not None:
                kept = tokens.kept(pattern, n, self.heads, x.device)
                positions = kept if positions is None else positions * kept
            scores = query @ key.transpose(-1, -2) * self.scale
            if bias is not None:
                scores = scores + bias[..., :rows, :]
            if factors is not None:
                scores = scores + factors[..., :rows, :].clamp(min=LEAST_FACTOR).log()
            if window is not None:
                # Outside the window is removed, not padding: with nothing left inside, the mean is over all tokens.
                inside = near(x.shape[1], window, x.device)
                positions = inside if positions is None else positions * inside
            if positions is not None:
                scores = replace_removed(scores, positions[..., :rows, :])
            if tokens.keys is not None:  # finite: a text of padding alone gives numbers
                scores = scores.masked_fill(~tokens.keys, torch.finfo(scores.dtype).min)
            weights = scores.softmax(-1)
            if tokens.ranking is not None:
                tokens.rank(weights, gates)
            context = F.dropout(weights.to(value.dtype), dropout, training=self.training) @ value
        return give(self, context.transpose(1, 2).flatten(2), gates)

    def split(self, x: Tensor) -> Tensor:
        """(batch, n, heads * size) -> (batch, heads, n, size)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @classmethod
    def pattern_of(cls, shape: LayerShape) -> Pattern | None:
        """The static mask that is part of the shape."""
        return None

    @classmethod
    def cut(
        cls, config: TrimformerConfig, shape: LayerShape, gates: LayerGates, where: str
    ) -> tuple[LayerShape, dict[str, Axis]]:
        values, scores = kept_values(shape, gates, where)
        alive = (values != 0).any(1)
        positions = POSITIONS[config.attention_positions]
        if alive.any() and "query_key" in positions.keeps and not scores[alive].all():
            raise TrimformerError(
                f"{where.capitalize()} cannot lose dimensions of its queries and keys: {positions.keeps['query_key']}."
            )
        changed, axes = super().cut(config, shape, gates, where)
        # Equal scores: all tokens weigh the same, where only queries and keys decide.
        only_scores = cls.sees_all(shape) and positions.only_scores and shape.tokens is None
        if alive.any() and not scores[alive].any() and only_scores:
            left = ATTENTION["mean"].shaped(changed, query_key=changed.query_key if config.sharing else None)
            return left, axes
        return changed, axes

    @classmethod
    def own_of(cls, shape: LayerShape, heads: Sequence[int]) -> dict[str, Any]:
        if list(heads) == list(range(shape.heads)):
            return dict(shape.own)
        columns = shape.own.get(COLUMNS, list(range(shape.heads)))
        return shape.own | {COLUMNS: [columns[head] for head in heads]}

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes) -> dict[str, Number]:
        maps = sum(params(shape, f"attention.{name}", sizes.inputs, sizes.queries) for name in ("query", "key"))
        scores = maps + 2 * config.attention_bias * sizes.queries
        relative = POSITIONS[config.attention_positions].layer_params(config, sizes)
        return super().params(config, shape, sizes) | {"scores": scores + relative}

    @classmethod
    def flops(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int) -> Number:
        """8nd² + 4n²d with d units of queries, keys, values and outputs, and what positions add.

        Of a long text, a window or a pattern saves what is not computed by blocks (``parts/band.py``); a layer that
        ranks its tokens computes all.
        """
        maps = {"query": (sizes.queries, rows), "key": (sizes.queries, n), "value": (sizes.values, n)}
        total = sum(
            flops(shape, f"attention.{name}", sizes.inputs, size) * count for name, (size, count) in maps.items()
        )
        total = total + flops(shape, "attention.output", sizes.values, sizes.hidden) * rows
        by_blocks = rows == n and shape.tokens is None
        band = band_at(config, shape.window, cls.pattern_of(shape), n) if by_blocks else None
        pairs = rows * n if band is None else band.pairs(n)
        total = total + 2 * pairs * (sizes.values + sizes.queries)
        return total + POSITIONS[config.attention_positions].layer_flops(config, sizes, n, rows)

    @classmethod
    def piece(cls, shape: LayerShape) -> str:
        return f"{cls.kind}/{shape.head_size}"

    @classmethod
    def knots(cls, config: TrimformerConfig, plain: LayerShape) -> Iterator[tuple[str, int, LayerShape]]:
        for head_size in {shape.head_size for shape in config.shapes}:
            most = max(shape.heads for shape in config.shapes if shape.head_size == head_size)
            full = cls.shaped(dataclasses.replace(plain, heads=most, head_size=head_size))
            for heads in knots(most):
                yield cls.piece(full), heads, dataclasses.replace(full, heads=heads)
            for query_key in knots(head_size, max(1, head_size // 4)):
                narrow = None if query_key == head_size else query_key
                yield f"{cls.piece(full)} qk", query_key, dataclasses.replace(full, query_key=narrow)
            for inputs in knots(config.hidden_size, max(1, config.hidden_size // 4)):
                picked = to_ranges(index * config.hidden_size // inputs for index in range(inputs))
                yield f"{cls.piece(full)} inputs", inputs, dataclasses.replace(full, inputs=picked)

    @classmethod
    def milliseconds(cls, times: Times, shape: LayerShape, inside: Inside, place: str) -> Number:
        name = f"{place}{cls.piece(shape)}"
        total: Number = times.time(name, inside.heads)
        if place:
            return total
        # What narrower queries and keys, or fewer dimensions that are read, save is proportional to the heads.
        most, saved = times.most(name), torch.zeros((), dtype=torch.float64)
        if inside.query_key != shape.head_size:
            saved = times.time(f"{name} qk", shape.head_size) - times.time(f"{name} qk", inside.query_key)
        if inside.inputs is not None:
            saved = saved + times.time(name, most) - times.time(f"{name} inputs", inside.inputs)
        return total - inside.heads / most * saved

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedAttention(self, positions, first_only)


def band_of(window: int | None, pattern: Pattern | None) -> Band | None:
    """How what is attended to is computed by blocks; None where it is not."""
    if pattern is not None:
        return pattern.band
    return None if window is None else Band(window // 2)


def band_at(config: TrimformerConfig, window: int | None, pattern: Pattern | None, n: int) -> Band | None:
    """How texts of n tokens are computed by blocks; None where they are not, or something is added to the scores."""
    band = band_of(window, pattern) if POSITIONS[config.attention_positions].by_token else None
    return None if band is None or n < band.long else band


def replace_removed(scores: Tensor, positions: Tensor) -> Tensor:
    """Scores with removed positions *replaced* by a constant; ``positions`` broadcasts over the heads."""
    if positions.dtype == torch.bool:
        return scores.masked_fill(~positions, REMOVED_SCORE)
    return scores * positions + REMOVED_SCORE * (1 - positions)


class ExportedAttention(nn.Module):
    """Self-attention with the scale of its scores inside the query's map.

    Query, key and value stay three products, because one that is taken apart again takes longer under ONNX
    Runtime (docs/benchmarks.md). positions: the mechanism, where more is to be done than adding to the scores.
    first_only: attend from the first token only; the result is then (batch, 1, hidden) instead of (batch, n, hidden).
    """

    def __init__(self, attention: FullAttention, positions: Any, first_only: bool) -> None:
        super().__init__()
        self.heads, self.head_size, self.first_only = attention.heads, attention.head_size, first_only
        self.query_key_size = attention.query_key_size
        self.window, self.rotary, self.columns = attention.window, attention.rotary, attention.columns
        self.band = None if first_only else attention.long_band
        self.positions = positions
        if positions is not None and (relative := positions.exported(attention)) is not None:
            self.relative = relative
        kind = kind_of(attention.query)
        assert kind is not None
        self.query = kind.scaled(attention.query, attention.scale)
        self.key, self.value, self.output = attention.key, attention.value, attention.output
        self.inputs = attention.inputs

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        """x: (batch, n, hidden)"""
        batch, hidden = x.shape[0], x.shape[2]
        x = self.inputs(x)
        rows = x.reshape(-1, x.shape[2])

        def split(given: Tensor, size: int) -> Tensor:
            """Rows -> (batch, heads, n, size)"""
            return given.reshape(batch, -1, self.heads, size).transpose(1, 2)

        query = split(self.query(x[:, 0] if self.first_only else rows), self.query_key_size)
        key, value = split(self.key(rows), self.query_key_size), split(self.value(rows), self.head_size)
        bias = None
        if self.positions is not None:
            query, key, bias = self.positions.place(shared.state, self, query, key)
        if self.band is not None and shared.ranking is None:
            assert bias is None
            context = self.band.attend(query, key, value, shared.band(self.band), attended)
        else:
            score_bias = shared.bias(self.window, self.columns, self.first_only)
            score_bias = score_bias if bias is None else score_bias + bias
            if self.first_only:
                score_bias = score_bias[:, :, :1]
            weights = self.masked(query @ key.transpose(-1, -2) + score_bias, shared).softmax(-1)
            if shared.ranking is not None:
                shared.rank(weights)
            context = weights @ value
        context = context.transpose(1, 2).reshape(-1, self.heads * self.head_size)
        given: Tensor = self.output(context).reshape(batch, -1, hidden)
        return given

    def masked(self, scores: Tensor, shared: ExportedTokens) -> Tensor:
        """The scores (batch, heads, n or 1, n), padding already far off, with what else is not attended far off."""
        return scores


def attended(query: Tensor, key: Tensor, value: Tensor, score_bias: Tensor) -> Tensor:
    """What queries read whose scale is inside: (batch, heads, n, size) of each."""
    return (query @ key.transpose(-1, -2) + score_bias).softmax(-1) @ value
