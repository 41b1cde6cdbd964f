"""Products of contents with positions (DeBERTa)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...shape.config import LayerShape, TrimformerConfig
from ...shape.kinds import POSITIONS
from ..axes import Axes
from ..linear.base import Number
from ..linear.dense import constant
from ..sizes import Sizes
from .base import Mechanism, Placed, by_distance, distances, query_minus_key


@POSITIONS.add("disentangled")
class Disentangled(Mechanism):
    """DeBERTa: the scores gain content-to-position and position-to-content products (He et al., 2021, section 3.1).

    All layers share one table of relative positions; each projects it by weights of its own, see
    :class:`RelativeProjections`.
    """

    only_scores = False
    by_token = False
    keeps = {  # noqa: RUF012  (never written to)
        "query_key": "the positions are in them",
        "hidden": "the table of relative positions (DeBERTa) is as wide as they",
        "inputs": "the weights that read them also read the table of relative positions (DeBERTa)",
    }
    axes = {"table": (None, None), "norm": (None,)}  # noqa: RUF012  (never written to)

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__(config)
        span = config.relative_buckets or config.relative_span
        self.table = nn.Embedding(2 * span, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if config.relative_norm else None
        distance = distances(max(config.max_position_embeddings, config.relative_span))
        if config.relative_buckets:
            distance = deberta_buckets(distance, config.relative_buckets, config.relative_span)
        self.rows = (distance + span).clamp(0, 2 * span - 1)

    def prepare(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """The table (rows, hidden), and the row of each pair of query and key (1 or batch, 1, n, n)."""
        return self.normed_table(), by_distance(self.rows, query_minus_key(places))[:, None]

    def normed_table(self) -> Tensor:
        return self.table.weight if self.norm is None else self.norm(self.table.weight)

    def place(
        self, state: tuple[Tensor, Tensor], layer: Placed, query: Tensor, key: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        table, rows = state
        position_keys, position_queries = layer.relative.tables(layer, table)
        rows = rows[..., : query.shape[-2], :].expand(*query.shape[:-1], key.shape[-2])
        bias = None
        if position_keys is not None:  # row i, column j: query i with the position of j as seen from i
            bias = (query @ position_keys.transpose(-1, -2)).gather(-1, rows)
        if position_queries is not None:  # key j with the same position; stock DeBERTa computes its transpose
            from_keys = (position_queries @ key.transpose(-1, -2)).gather(-2, rows)
            bias = from_keys if bias is None else bias + from_keys
        return query, key, bias

    @classmethod
    def projections(cls, config: TrimformerConfig, shape: LayerShape) -> nn.Module:
        return RelativeProjections(config, shape)

    @classmethod
    def products(cls, config: TrimformerConfig) -> int:
        return 1 + len(config.relative_terms or ())

    @classmethod
    def rows_of(cls, config: TrimformerConfig) -> int:
        """Rows of the table."""
        return 2 * (config.relative_buckets or config.relative_span)

    @classmethod
    def params(cls, config: TrimformerConfig) -> int:
        return (cls.rows_of(config) + 2 * config.relative_norm) * config.hidden_size

    @classmethod
    def layer_params(cls, config: TrimformerConfig, sizes: Sizes) -> Number:
        maps = 0 if config.relative_shares_weights else len(config.relative_terms or ())
        return maps * (config.hidden_size + 1) * sizes.queries

    @classmethod
    def layer_flops(cls, config: TrimformerConfig, sizes: Sizes, n: int, rows: int) -> Number:
        """Each product (``c2p``, ``p2c``) with a table of r rows adds 2rd² for its projection and 2nrd."""
        products = ({"c2p": rows, "p2c": n}[term] for term in config.relative_terms or ())
        return sum(2 * cls.rows_of(config) * (config.hidden_size + count) * sizes.queries for count in products)

    def exported(self, attention: Any) -> nn.Module:
        return ExportedTables(attention, self.normed_table())


class ExportedTables(nn.Module):
    """Position keys and queries of one layer, (1, heads, rows, head size), computed once for all.

    The keys meet a query that has the scale of the scores in it; the queries have it themselves.
    """

    def __init__(self, attention: Any, table: Tensor) -> None:
        super().__init__()
        keys, queries = attention.relative.tables(attention, table)
        self.keys = None if keys is None else constant(keys / attention.scale)
        self.queries = None if queries is None else constant(queries)

    def tables(self, layer: nn.Module, table: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return self.keys, self.queries


class RelativeProjections(nn.Module):
    """What one DeBERTa layer makes of the shared table: keys for ``c2p``, queries for ``p2c``, dropout before both."""

    axes: ClassVar[dict[str, Axes]] = {"query": ("key", None), "key": ("key", None)}

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


def deberta_buckets(distance: Tensor, buckets: int, span: int) -> Tensor:
    """Bucket of each distance, signed int64: itself up to ``buckets / 2``, then logarithmically up to ``span``."""
    half = buckets // 2
    steps = distance.abs()
    logs = torch.log(steps.clamp(min=half) / half) / torch.log(torch.tensor((span - 1) / half, device=distance.device))
    far = (torch.ceil(logs * (half - 1)) + half).long()
    return torch.where(steps <= half, distance, far * distance.sign())
