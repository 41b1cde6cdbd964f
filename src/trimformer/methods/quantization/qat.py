"""Quantization-aware training: the encoder is trained under the rounding that it will have in int8.

Zafrir, Boudoukh, Izsak and Wasserblat, "Q8BERT", 2019: weights and inputs of linear maps are rounded to symmetric
8-bit integers, Q(x) = clip(round(x / s)) with s = max|x| / 127, of weights as they are, of inputs a moving maximum; the
gradient passes the rounding as if it were not there. Norms, softmax and GELU stay in floating point. A weight matrix
has a scale for each output unit here and not one for all, and the word table one for each word, as int8 files have.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from ..base import Context, MethodSettings, register
from .fake import LARGEST, RoundedInput, RoundedTraining, round_inputs, round_weights, rounded


class QatSettings(MethodSettings):
    """Settings of qat."""

    name: Literal["qat"] = "qat"
    momentum: float = Field(
        0.99, ge=0, lt=1, description="how much of the largest input so far stays in each step; the first step sets it"
    )


class RoundedWeight(nn.Module):
    """A weight (rows, columns) rounded to int8, with a scale for each row."""

    def forward(self, weight: Tensor) -> Tensor:
        return rounded(weight, weight.detach().abs().amax(1, keepdim=True), -LARGEST)


@register
class Qat(RoundedTraining):
    """Round weights and inputs of linear maps while they are trained."""

    name = "qat"
    Settings = QatSettings
    example = {"momentum": 0.9}  # noqa: RUF012  (never written to)
    rounds = True

    def put(self, settings: Any, context: Context) -> dict[str, RoundedInput]:
        others = ("encoder.embeddings.position", "encoder.embeddings.segment")  # int8 files have these in fp32
        round_weights(context.model, lambda name: None if name in others else RoundedWeight())
        return round_inputs(context.model, settings.momentum)

    def notes(self) -> list[str]:
        maps = len(set(self.inputs.values()))
        return [
            f"{maps} linear maps were trained under the rounding of int8: files in int8 round as in training and need "
            "no calibration; in fp32 the inputs are not rounded."
        ]
