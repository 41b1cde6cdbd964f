"""Exits on a model that stays as it is: only their heads are trained."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..base import Context
from .base import NO_ENTROPY, ExitMethod


class FrozenExits(ExitMethod):
    """Train the heads of exits alone; a text leaves at the first exit whose entropy is low enough."""

    rule = "entropy"
    refuses = {**ExitMethod.refuses, **NO_ENTROPY}  # noqa: RUF012  (never written to)

    def __init__(self, settings: Any, context: Context) -> None:
        context.model.requires_grad_(False)  # the exits come new, and learn
        super().__init__(settings, context)

    def settle(self) -> None:
        self.model.encoder.eval()
        self.model.head.eval()

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The sum over the exits."""
        _, losses = self.heads(batch)
        return sum(losses[1:-1], losses[0])
