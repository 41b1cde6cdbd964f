"""Norms and sums of the residual stream under gates of the hidden dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..shape.config import TrimformerConfig


def layer_norm(config: TrimformerConfig, width: int | None = None) -> nn.LayerNorm:
    """A norm as this encoder has them."""
    return nn.LayerNorm(width or config.hidden_size, eps=config.layer_norm_eps, bias=config.norm_bias)


class NoNorm(nn.Module):
    """γ ⊙ x + β: what MobileBERT has in the place of LayerNorm (Sun et al., 2020, section 3.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


def scaled(x: Tensor, hidden: Tensor | None) -> Tensor:
    """Times the gates of the hidden dimensions."""
    return x if hidden is None else x * hidden.to(x.dtype)


def normed(norm: nn.Module, x: Tensor, hidden: Tensor | None) -> Tensor:
    """A norm over the hidden dimensions whose gates are not 0; the others are 0 before and after."""
    if hidden is None or not isinstance(norm, nn.LayerNorm):
        found: Tensor = norm(x)
        return found
    keep = (hidden != 0).to(x.dtype)
    count = keep.sum()
    centred = (x - x.sum(-1, keepdim=True) / count) * keep  # the others are 0 in the sum
    y = centred * torch.rsqrt(centred.square().sum(-1, keepdim=True) / count + norm.eps) * norm.weight
    return y if norm.bias is None else y + norm.bias * keep


def add(x: Tensor, given: Tensor | None, dropout: nn.Module, hidden: Tensor | None) -> Tensor:
    """The residual sum; nothing is added where nothing is left of a block."""
    return x if given is None else x + scaled(dropout(given), hidden)
