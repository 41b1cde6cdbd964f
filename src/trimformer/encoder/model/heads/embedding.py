"""The head that gives one vector for a text: an embedding model."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....saved.kinds import HEADS, Kind
from ...parts.axes import Axes
from ...parts.trace import TextOutput
from ...shape.config import TrimformerConfig
from ...shape.embedding import DenseShape, EmbeddingShape
from ..sentence_files import write_modules
from .base import TrimformerWithHead

STEEPNESS = 20.0
"""What differences of cosines are multiplied by in the loss of couples (Su, 2022)."""


class EmbeddingDense(nn.Module):
    """Linear, activation: (batch, width) -> (batch, size). first: whether it reads the pooled vector."""

    def __init__(self, width: int, shape: DenseShape, first: bool) -> None:
        super().__init__()
        self.axes: dict[str, Axes] = {"linear": (None, "hidden" if first else None)}
        self.linear = nn.Linear(width, shape.size, bias=shape.bias)
        self.activation = getattr(nn, shape.activation)()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.activation(self.linear(x))
        return found


class EmbeddingHead(nn.Module):
    """Pooling, dense layers, length 1: (batch, n, hidden) -> (batch, outputs)."""

    def __init__(self, config: TrimformerConfig, outputs: int) -> None:
        super().__init__()
        shape = EmbeddingShape.read(config.embedding)
        self.pooling, self.normalize = shape.pooling, shape.normalize
        widths = _widths(config)
        self.dense = nn.ModuleList(
            EmbeddingDense(width, one, first=index == 0)
            for index, (width, one) in enumerate(zip(widths, shape.dense, strict=False))
        )

    @classmethod
    def params(cls, config: TrimformerConfig, outputs: int) -> int:
        """Its weights."""
        dense = EmbeddingShape.read(config.embedding).dense
        return sum((width + one.bias) * one.size for width, one in zip(_widths(config), dense, strict=False))

    @classmethod
    def flops(cls, config: TrimformerConfig, outputs: int) -> int:
        """Operations for one text."""
        dense = EmbeddingShape.read(config.embedding).dense
        return sum(2 * width * one.size for width, one in zip(_widths(config), dense, strict=False))

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.pool(x, attention_mask)
        for layer in self.dense:
            x = layer(x)
        return F.normalize(x, dim=-1) if self.normalize else x

    def pool(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(batch, n, hidden) -> (batch, hidden)"""
        if self.pooling == "cls":
            return x[:, 0]
        mask = torch.ones_like(x[..., 0]) if attention_mask is None else attention_mask.to(x.dtype)
        if self.pooling == "max":
            return x.masked_fill(mask[..., None] == 0, torch.finfo(x.dtype).min).amax(1)
        # The others are sums with a weight for each token.
        weights, count = mask, mask.sum(1, keepdim=True).clamp(min=1)
        if self.pooling == "weightedmean":
            weights = mask * mask.cumsum(1)
            count = weights.sum(1, keepdim=True).clamp(min=1)
        elif self.pooling == "mean_sqrt_len_tokens":
            count = count.sqrt()
        elif self.pooling == "lasttoken":
            weights, count = mask * (mask.cumsum(1) == count).to(x.dtype), torch.ones_like(count)
        return (x * weights[..., None]).sum(1) / count


def _widths(config: TrimformerConfig) -> list[int]:
    """What each dense layer reads, and the size of the vector at last."""
    return [config.hidden_size, *(one.size for one in EmbeddingShape.read(config.embedding).dense)]


def vector_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the cosine, plus the squared distance in units of the teacher's mean squared length, a mean over texts.

    The squared distance is that of Reimers & Gurevych (2020, section 2); in these units the length of the vectors does
    not count. student, teacher: (batch, size), fp32.
    """
    distance = (student - teacher).square().sum(-1).mean() / teacher.square().sum(-1).mean().clamp(min=1e-12)
    return 1 - F.cosine_similarity(student, teacher, dim=-1).mean() + distance


def couple_loss(vectors: Tensor, scores: Tensor) -> Tensor:
    """log(1 + Σ exp(20 (cos_j − cos_i))) over couples i that have a higher score than j (CoSENT: Su, 2022).

    vectors: (2 couples, size), the two of a couple side by side. scores: (couples,), in any unit: only their order
    counts.
    """
    cosines = STEEPNESS * F.cosine_similarity(vectors[0::2], vectors[1::2], dim=-1)
    wrong = (cosines[None] - cosines[:, None])[scores[:, None] > scores[None]]
    return torch.logsumexp(torch.cat([torch.zeros_like(cosines[:1]), wrong]), 0)


class TrimformerForEmbedding(TrimformerWithHead):
    """One vector for each text, as ``config.embedding`` says: (batch, size) as ``logits``; labels as :meth:`loss` takes
    them."""

    kinds = HEADS["ForEmbedding"]
    unnamed = MappingProxyType({"embedding": ("vector",)})
    output_type = TextOutput
    for_texts = True

    @staticmethod
    def loss(kind: Kind, logits: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """labels: (batch, size), a teacher's vectors; or (batch,), the score of a couple at each of its two texts."""
        if labels.ndim == 2:
            return vector_loss(logits, labels.float())
        return couple_loss(logits, labels[0::2])

    @classmethod
    def reads_first(cls, config: TrimformerConfig) -> bool:
        return EmbeddingShape.read(config.embedding).pooling == "cls"

    @classmethod
    def head_type(cls, config: TrimformerConfig) -> Any:
        return EmbeddingHead

    @classmethod
    def outputs(cls, config: TrimformerConfig) -> int:
        return EmbeddingShape.read(config.embedding).size(config.hidden_size)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Save as transformers does, and beside it what ``SentenceTransformer`` reads."""
        super().save_pretrained(*args, **kwargs)
        self.save_modules(Path(args[0] if args else kwargs["save_directory"]))

    def save_modules(self, folder: Path) -> None:
        """Write what ``SentenceTransformer`` reads beside the encoder in this folder."""
        write_modules(folder, self.config, self.head.state_dict())
