"""The embeddings: tables of words, positions and segments, maybe narrower than the stream (ALBERT, ELECTRA)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..shape.config import TrimformerConfig
from .apart import numbers
from .axes import Axes
from .components import OWN, Component, Components
from .norms import layer_norm, normed, scaled


class Embeddings(nn.Module):
    """Word + position + segment embeddings, LayerNorm, dropout, projection: (batch, n) ids -> (batch, n, hidden)."""

    components: ClassVar[Components] = {OWN: Component.EMBEDDINGS}

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__()
        self.axes = self.axes_of(config)
        self.pad_token_id = config.pad_token_id or 0
        self.from_padding = config.positions == "from_padding"
        self.by_segment = config.positions == "by_segment"
        self.passage_start, self.positions = config.passage_start, config.max_position_embeddings
        width = config.embedding_size or config.hidden_size
        self.word = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        has_positions = config.positions != "none"
        self.position = nn.Embedding(config.max_position_embeddings, width) if has_positions else None
        has_segments = config.type_vocab_size > 0
        self.segment = nn.Embedding(config.type_vocab_size, width) if has_segments else None
        self.norm = layer_norm(config, width)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.factorised = config.embedding_size is not None  # then the tables have dimensions of their own
        self.projection = nn.Linear(width, config.hidden_size) if self.factorised else nn.Identity()

    @staticmethod
    def axes_of(config: TrimformerConfig) -> dict[str, Axes]:
        """As those of attention: factorised tables have dimensions of their own, which nothing cuts."""
        rows = {"word": "vocabulary", "position": None, "segment": None}
        if config.embedding_size is None:
            return {name: (axis, "stream") for name, axis in rows.items()} | {"norm": ("hidden",)}
        return {name: (axis, None) for name, axis in rows.items()} | {"norm": (None,), "projection": ("stream", None)}

    @staticmethod
    def params(config: TrimformerConfig) -> int:
        """Its weights."""
        width = config.embedding_size or config.hidden_size
        positions = 0 if config.positions == "none" else config.max_position_embeddings
        tables = (config.vocab_size + positions + config.type_vocab_size) * width
        projection = 0 if config.embedding_size is None else (width + 1) * config.hidden_size
        return tables + width * (1 + config.norm_bias) + projection

    @staticmethod
    def flops(config: TrimformerConfig, n: int) -> int:
        """Operations for n tokens: of a projection, where there is one."""
        return 2 * n * (config.embedding_size or 0) * config.hidden_size

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None, hidden: Tensor | None = None) -> Tensor:
        """hidden: gates of the hidden dimensions."""
        if not self.factorised:
            return self.dropout(self.look_up(input_ids, token_type_ids, hidden))
        return scaled(self.projection(self.dropout(self.look_up(input_ids, token_type_ids))), hidden)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """The embeddings without dropout."""
        x: Tensor = self.projection(self.look_up(input_ids, token_type_ids))
        return x

    def look_up(self, input_ids: Tensor, token_type_ids: Tensor | None, hidden: Tensor | None = None) -> Tensor:
        """The normalised sum of the tables' rows, as wide as the tables."""
        x = self.word(input_ids)
        if self.position is not None:
            x = x + self.position(self.number(input_ids, token_type_ids))
        if self.segment is not None:
            # A segment that nobody names is segment 0, whose row is broadcast instead of being looked up n times.
            x = x + (self.segment.weight[0] if token_type_ids is None else self.segment(token_type_ids))
        return normed(self.norm, scaled(x, hidden), hidden)

    def number(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """The position of each token, as (batch, n) or (1, n)."""
        if self.by_segment and token_type_ids is not None:
            real = input_ids.ne(self.pad_token_id)
            return numbers(token_type_ids, real, self.passage_start, self.positions)
        if self.from_padding:
            real = input_ids.ne(self.pad_token_id).long()
            return real.cumsum(1) * real + self.pad_token_id
        return torch.arange(input_ids.shape[1], device=input_ids.device)[None]
