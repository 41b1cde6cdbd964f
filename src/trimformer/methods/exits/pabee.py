"""PABEE: the whole model and its exits are trained together; a text leaves once enough exits in a row agree.

Zhou, Xu, Ge, McAuley, Xu and Wei, "BERT Loses Patience: Fast and Robust Inference with Early Exit", 2020, section 3.
The loss is the mean of the exits' losses, weighted by how many layers are before each: sum_j j L_j / sum_j j.
Numbers agree where they differ by less than a tolerance.

Where the published code is left: it tests the agreement of a whole batch, and here each text leaves for itself; by
default there are fewer exits, which read the mean over the tokens and not the first one; the stage goes on from the
fine-tuned model unless the recipe says ``start: pretrained``, as in the paper; and the patience is chosen for a budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from ...training.settings import ObjectiveSettings
from ..base import Standard, register
from .base import ExitMethod, ExitSettings


class PabeeSettings(ExitSettings):
    """Settings of PABEE."""

    name: Literal["pabee"] = "pabee"
    tolerance: float = Field(
        0.1, ge=0, description="of numbers: standard deviations of the labels up to which two exits agree"
    )


@register
class Pabee(ExitMethod):
    """The model and its exits, trained together; a text leaves where enough exits in a row agree."""

    name = "pabee"
    Settings = PabeeSettings
    rule = "patience"
    standard = Standard(stage="exits", objective=ObjectiveSettings(), repair=None)

    @classmethod
    def limits(cls, settings: Any, after: Sequence[int], number: bool) -> dict[str, Any]:
        # As many agreements as there are exits never come about: the first exit has none before it.
        return {"threshold": max(1, len(after)), "tolerance": settings.tolerance if number else None}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        _, losses = self.heads(batch)
        weights = [*(layer + 1 for layer in self.shape.after), self.layers]
        total = sum((weight * loss for weight, loss in zip(weights, losses, strict=True)), 0 * losses[0])
        return total / sum(weights)

    def notes(self) -> list[str]:
        if self.shape.tolerance is None:
            return []
        return [f"numbers agree up to a difference of {self.shape.tolerance:g} standard deviations of the labels."]
