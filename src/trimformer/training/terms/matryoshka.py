"""Distillation of the first dimensions of vectors alone (Matryoshka: Kusupati et al., 2022, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, Field, PositiveInt
from torch import Tensor

from ...encoder.model.heads import Kind
from ...encoder.model.heads.embedding import vector_loss
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.embedding import EmbeddingShape
from ...errors import TrimformerError
from ..matching import Layers
from .base import TERMS, Term


class MatryoshkaSettings(BaseModel):
    matryoshka: float = Field(0.0, ge=0, description="embedding: distillation of the first dimensions of the vectors")
    matryoshka_dims: list[PositiveInt] | None = Field(
        None,
        min_length=1,
        description="how many of the first dimensions, such as [256, 128]; none: as the model says, "
        "else a half and a quarter",
    )


@TERMS.add("matryoshka")
class MatryoshkaTerm(Term):
    """The distance of the vectors cut to their first dimensions, a mean over the numbers of these."""

    name = "matryoshka"
    order = 8
    Settings = MatryoshkaSettings
    kinds = ("embedding",)
    by_number = True
    reads_answers = True

    def __init__(self, settings: Any, layers: Layers) -> None:
        super().__init__(settings, layers)
        self.dims = self.lengths(settings, layers.teacher)
        size = EmbeddingShape.read(layers.teacher.embedding).size(layers.teacher.hidden_size)
        if max(self.dims) >= size:
            raise TrimformerError(
                f"matryoshka_dims names the length {max(self.dims)}, and the vectors have {size} dimensions: name "
                "lengths below that."
            )

    @classmethod
    def lengths(cls, settings: Any, teacher: TrimformerConfig) -> tuple[int, ...]:
        shape = EmbeddingShape.read(teacher.embedding)
        size = shape.size(teacher.hidden_size)
        return tuple(settings.matryoshka_dims or shape.dims or (max(1, size // 2), max(1, size // 4)))

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        return matryoshka_loss(out.logits, target.logits, self.dims)


def matryoshka_loss(student: Tensor, teacher: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The loss of vectors at each number of first dimensions, a mean. student, teacher: (batch, size)."""
    student, teacher = student.float(), teacher.float()
    return torch.stack([vector_loss(student[:, :dim], teacher[:, :dim]) for dim in dims]).mean()
