"""One layer of BERT: y = LN(x + Attention(x)); LN(y + FFN(y))."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...shape.gates import LayerGates
from ...shape.kinds import LAYERS
from ..exported import ExportedTokens
from ..norms import add, normed
from ..tokens import Tokens
from .base import AttentionLayer, ExportedLayer


@LAYERS.add("post-norm")
class PostNormLayer(AttentionLayer):
    """Norms after the residual sums."""

    kind = "post-norm"
    about = "norms after attention and after the feed-forward block (BERT)"

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        hidden = None if gates is None else gates.hidden
        y = add(tokens.of(x), self.attention(x, tokens, gates), self.dropout, hidden)
        y = tokens.extract(normed(self.attention_norm, y, hidden))
        return normed(self.ffn_norm, add(y, self.feed_forward(y, gates), self.dropout, hidden), hidden)

    def units(self, x: Tensor) -> Tensor:
        found: Tensor = self.activation(self.ffn_in(x))
        return found

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedPostNorm(self, positions, first_only)


class ExportedPostNorm(ExportedLayer):
    """In rows from the attention's norm on."""

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        x = self.add(x, self.attention(x, shared))
        batch, hidden = x.shape[0], x.shape[2]
        rows = shared.extract(self.layer.attention_norm(x.reshape(-1, hidden)))
        if not self.layer.has_units:
            given = self.layer.ffn_out(x)
            y = rows.reshape(batch, -1, hidden)
            left: Tensor = self.layer.ffn_norm(y if given is None else y + given)
            return left
        found: Tensor = self.layer.ffn_norm(rows + self.layer.ffn_out(self.layer.units(rows)))
        return found.reshape(batch, -1, hidden)
