"""The plainest head."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ...parts.axes import Axes
from ...shape.config import TrimformerConfig
from .base import dropout_of


class LinearHead(nn.Module):
    """Dropout, linear, of each vector: (…, hidden) -> (…, outputs)."""

    axes: ClassVar[dict[str, Axes]] = {"output": (None, "hidden")}

    def __init__(self, config: TrimformerConfig, outputs: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout_of(config))
        self.output = nn.Linear(config.hidden_size, outputs)

    @classmethod
    def params(cls, config: TrimformerConfig, outputs: int) -> int:
        """Its weights."""
        return (config.hidden_size + 1) * outputs

    @classmethod
    def flops(cls, config: TrimformerConfig, outputs: int) -> int:
        """Operations for one vector."""
        return 2 * config.hidden_size * outputs

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        logits: Tensor = self.output(self.dropout(x))
        return logits
