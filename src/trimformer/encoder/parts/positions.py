"""How positions enter attention, beyond what the embeddings know of them: one class for each mechanism.

All have the same outline. ``__init__`` holds the weights that the layers share; ``prepare`` makes, once per forward
pass, what the layers share; ``place`` puts the positions into the queries, keys and scores of one layer. The queries
given to ``place`` are those of the first tokens, all of them or, in an exported last layer, the first alone.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..shape.config import LayerShape, TrimformerConfig


class Placed(Protocol):
    """What a mechanism reads of the attention layer that it works in."""

    rotary: float | None
    relative: Any


class Mechanism(nn.Module):
    """The outline. The state that ``prepare`` returns is what ``place`` is given."""

    def prepare(self, x: Tensor) -> Any:
        """What the layers share in one forward pass on x (batch, n, hidden)."""
        raise NotImplementedError

    def place(self, state: Any, layer: Placed, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries, keys (batch, heads, n, head size), and what is added to their scaled scores, if anything."""
        raise NotImplementedError


class RelativeBias(Mechanism):
    """MPNet and T5: a learned number for each head and distance, added to the scores of every layer alike.

    Raffel et al. (2020), section 2.1; Song et al. (2020).
    """

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__()
        self.limit = config.relative_span
        self.table = nn.Embedding(
            config.relative_buckets, next(s.heads for s in config.shapes if s.attention == "full")
        )
        self.buckets = t5_buckets(_distances(self.limit), config.relative_buckets, config.relative_span)

    def prepare(self, x: Tensor) -> Tensor:
        """The bias of all layers, (1, heads, n, n)."""
        bias: Tensor = self.table(_by_distance(self.buckets, -_query_minus_key(x)))
        return bias.permute(2, 0, 1)[None].contiguous()

    def place(self, state: Tensor, layer: Placed, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return query, key, state


class Disentangled(Mechanism):
    """DeBERTa: the scores gain content-to-position and position-to-content products (He et al., 2021, section 3.1).

    All layers share one table of relative positions; each projects it by weights of its own, see
    :class:`RelativeProjections`.
    """

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__()
        span = config.relative_buckets or config.relative_span
        self.table = nn.Embedding(2 * span, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if config.relative_norm else None
        distance = _distances(max(config.max_position_embeddings, config.relative_span))
        if config.relative_buckets:
            distance = deberta_buckets(distance, config.relative_buckets, config.relative_span)
        self.rows = (distance + span).clamp(0, 2 * span - 1)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The table (rows, hidden), and the row of each pair of query and key (n, n)."""
        return self.normed_table(), _by_distance(self.rows, _query_minus_key(x))

    def normed_table(self) -> Tensor:
        return self.table.weight if self.norm is None else self.norm(self.table.weight)

    def place(
        self, state: tuple[Tensor, Tensor], layer: Placed, query: Tensor, key: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        table, rows = state
        position_keys, position_queries = layer.relative.tables(layer, table)
        rows = rows[: query.shape[-2]].expand(*query.shape[:-1], key.shape[-2])
        bias = None
        if position_keys is not None:  # row i, column j: query i with the position of j as seen from i
            bias = (query @ position_keys.transpose(-1, -2)).gather(-1, rows)
        if position_queries is not None:  # key j with the same position; stock DeBERTa computes its transpose
            from_keys = (position_queries @ key.transpose(-1, -2)).gather(-2, rows)
            bias = from_keys if bias is None else bias + from_keys
        return query, key, bias


class RelativeProjections(nn.Module):
    """What one DeBERTa layer makes of the shared table: keys for ``c2p``, queries for ``p2c``, dropout before both."""

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__()
        self.terms, self.shared = tuple(config.relative_terms or ()), config.relative_shares_weights
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        if "c2p" in self.terms and not self.shared:
            self.key = nn.Linear(config.hidden_size, shape.query_key_width)
        if "p2c" in self.terms and not self.shared:
            self.query = nn.Linear(config.hidden_size, shape.query_key_width)

    def tables(self, layer: Any, table: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Position keys and queries, each (1, heads, rows, head size) and with the scale of the scores in them."""
        table = self.dropout(table)
        source = layer if self.shared else self
        keys = layer.split(source.key(table)[None]) * layer.scale if "c2p" in self.terms else None
        queries = layer.split(source.query(table)[None]) * layer.scale if "p2c" in self.terms else None
        return keys, queries


class Rotary(Mechanism):
    """Queries and keys turned by an angle that grows with the position (Su et al., 2021, section 3.2.2).

    It has no weights. Layers with another base (``LayerShape.rotary``) have other angles.
    """

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__()
        self.sizes = {
            s.rotary: s.query_key_size for s in config.shapes if s.attention == "full" and s.rotary is not None
        }

    def prepare(self, x: Tensor) -> dict[float, tuple[Tensor, Tensor]]:
        """For each base the cosines and sines, each (n, head size), in fp32."""
        return {base: self.angles(x, base, size) for base, size in self.sizes.items()}

    @staticmethod
    def angles(x: Tensor, base: float, size: int) -> tuple[Tensor, Tensor]:
        exponents = torch.arange(0, size, 2, device=x.device, dtype=torch.float32) / size
        positions = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        angles = (positions[:, None] * (1 / base**exponents)).repeat(1, 2)
        return angles.cos(), angles.sin()

    def place(
        self, state: dict[float, tuple[Tensor, Tensor]], layer: Placed, query: Tensor, key: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        assert layer.rotary is not None
        cos, sin = state[layer.rotary]
        rows = query.shape[-2]
        return rotate(query, cos[:rows], sin[:rows]), rotate(key, cos, sin), None


MECHANISMS: dict[str, type[Mechanism]] = {"relative_bias": RelativeBias, "disentangled": Disentangled, "rotary": Rotary}


def mechanism_of(config: TrimformerConfig) -> Mechanism | None:
    """The mechanism of an encoder; None where there is none, or no layer left that attends."""
    attends = any(shape.attention == "full" for shape in config.shapes)
    return MECHANISMS[config.attention_positions](config) if attends and config.attention_positions != "none" else None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + size / 2) of the last dimension by its angle; in the precision of the angles or better."""
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


def t5_buckets(distance: Tensor, buckets: int, span: int) -> Tensor:
    """Bucket of each distance (key minus query), int64: half of them for keys behind, half for keys ahead.

    In each half the first half counts one by one, the others grow logarithmically up to ``span``, and what is
    farther falls into the last one.
    """
    half = buckets // 2
    exact = half // 2
    steps = distance.abs()
    logs = torch.log(steps.clamp(min=exact).float() / exact) / math.log(span / exact) * (half - exact)
    far = (exact + logs.long()).clamp(max=half - 1)
    return torch.where(steps < exact, steps, far) + half * (distance > 0).long()


def deberta_buckets(distance: Tensor, buckets: int, span: int) -> Tensor:
    """Bucket of each distance, signed int64: itself up to ``buckets / 2``, then logarithmically up to ``span``."""
    half = buckets // 2
    steps = distance.abs()
    logs = torch.log(steps.clamp(min=half) / half) / torch.log(torch.tensor((span - 1) / half, device=distance.device))
    far = (torch.ceil(logs * (half - 1)) + half).long()
    return torch.where(steps <= half, distance, far * distance.sign())


def _distances(limit: int) -> Tensor:
    """-limit … limit; on the CPU also where a model is made without memory, since this is no weight to be loaded."""
    return torch.arange(-limit, limit + 1, device="cpu")


def _by_distance(values: Tensor, distance: Tensor) -> Tensor:
    """The entry of each distance in a list over -limit … limit; what lies farther counts as the limit.

    A list made beforehand, for the logarithms of two runtimes differ in the last bit, and that can be a whole bucket.
    """
    limit = len(values) // 2
    return values.to(distance.device)[distance.clamp(-limit, limit) + limit]


def _query_minus_key(x: Tensor) -> Tensor:
    positions = torch.arange(x.shape[1], device=x.device)
    return positions[:, None] - positions
