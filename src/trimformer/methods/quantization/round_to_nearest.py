"""Each weight becomes the nearest multiple of its group's scale, in 2 to 8 bits; nothing is trained.

The plainest quantization of weights alone (round to nearest), symmetric and with a scale for each group of 64 weights
in a row, as the blocks of Dettmers et al., "8-bit Optimizers via Block-wise Quantization", 2022, have one each.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from ...encoder.packing.groups import rounded
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ..base import Method, MethodSettings, Standard, register, worded
from ..result import Result
from .matrices import SAME_TIME, Matrix, changed


class RoundSettings(MethodSettings):
    """Settings of round-to-nearest."""

    name: Literal["round-to-nearest"] = "round-to-nearest"
    bits: int | None = Field(None, ge=2, le=8, description="bits of a weight of the layers; null: they stay fp32")
    embedding_bits: int | None = Field(8, ge=2, le=8, description="the same of the embedding tables")

    @property
    def label(self) -> str:
        given = (("", self.bits), (" in embeddings", self.embedding_bits))
        return ", ".join([worded(self.name), *(f"{bits} bits{where}" for where, bits in given if bits is not None)])


@register
class RoundToNearest(Method):
    """Whole numbers of few bits times a scale for each group of 64 weights."""

    name = "round-to-nearest"
    Settings = RoundSettings
    trains = False
    standard = Standard(stage="quantize", repair=None)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if settings.bits is None and settings.embedding_bits is None:
            raise TrimformerError(
                "The method round-to-nearest has neither bits nor embedding_bits: say how many bits a weight may have."
            )

    def result(self) -> Result:
        """The model with rounded weights; saving writes whole numbers and scales."""

        def rough(matrix: Matrix) -> Tensor | None:
            bits = self.settings.embedding_bits if matrix.table else self.settings.bits
            return None if bits is None else rounded(matrix.weight, bits)

        return Result(changed(self.model, rough), notes=[SAME_TIME])
