"""AttendOut's G-Net: one single-head attention layer applied once per encoder layer, whose scores are keep logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...training.distill import real_pairs


class Generator(nn.Module):
    """Keep logits of every attention position of every layer.

    With H⁰ the embedding output, S^l = (H^{l-1} W_Q)(H^{l-1} W_K)ᵀ/√d and H^l = softmax(S^l) H^{l-1} W_V: one head of
    full width, the same weights in each of the L passes, no feed-forward block and no output head (AttendOut, §3.2).
    The published text gives no residual or LayerNorm; ``residual`` adds both. ``keep_bias`` adds a learned number per
    layer, which starts at the logit of that keep probability.
    """

    def __init__(
        self,
        hidden: int,
        layers: int,
        *,
        residual: bool = False,
        keep_bias: float | None = None,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.layers, self.scale, self.residual = layers, hidden**-0.5, residual
        self.query, self.key, self.value = (nn.Linear(hidden, hidden, bias=False) for _ in range(3))
        for linear in (self.query, self.key, self.value):
            nn.init.normal_(linear.weight, std=std)
        start = None if keep_bias is None else torch.full((layers,), keep_bias).logit()
        self.bias = None if start is None else nn.Parameter(start)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Embedding output (batch, n, hidden) and mask (batch, n) -> keep logits (layers, batch, 1, n, n)."""
        padding = ~attention_mask[:, None, :].bool()
        scores = []
        for index in range(self.layers):
            score = self.query(hidden) @ self.key(hidden).transpose(1, 2) * self.scale
            scores.append(score if self.bias is None else score + self.bias[index])
            if index + 1 < self.layers:
                mixed = score.masked_fill(padding, -torch.inf).softmax(-1).to(hidden.dtype) @ self.value(hidden)
                hidden = F.layer_norm(hidden + mixed, mixed.shape[-1:]) if self.residual else mixed
        return torch.stack(scores)[:, :, None]


def log_probability(logits: Tensor, masks: Tensor, pairs: Tensor) -> Tensor:
    """Log probability of sampled masks, averaged over layers and real pairs (AttendOut's 1/(L n²)); a scalar."""
    log_p = -F.binary_cross_entropy_with_logits(logits, masks.to(logits.dtype), reduction="none")
    return (log_p * pairs).sum() / (pairs.sum() * logits.shape[0])


def kept(logits: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Over the real pairs of each layer: positions kept at the threshold 0.5, and the sum of keep probabilities."""
    hard = ((logits > 0) & pairs).flatten(1).sum(1)
    return hard, (torch.sigmoid(logits) * pairs).flatten(1).sum(1)


def empty_rows(masks: Tensor, attention_mask: Tensor) -> Tensor:
    """Share of real queries that no real key was left for (they attend uniformly); a scalar."""
    rows = (masks & real_pairs(attention_mask)[:, None]).any(-1)
    real = attention_mask.bool()[:, None].expand_as(rows[0])
    return 1 - (rows & real).sum() / (real.sum() * len(rows))
