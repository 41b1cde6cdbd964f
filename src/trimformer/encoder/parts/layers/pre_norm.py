"""One layer of ModernBERT: y = x + Attention(LN(x)); y + FFN(LN(y)), the FFN gated (GLU: Shazeer, 2020)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import ATTENTION, LAYERS
from ..components import Component
from ..exported import ExportedTokens
from ..linear.dense import stacked
from ..norms import add, normed, scaled
from ..tokens import Tokens
from .base import AttentionLayer, ExportedLayer


@LAYERS.add("pre-norm")
class PreNormLayer(AttentionLayer):
    """Norms before attention and before a gated feed-forward block.

    The first layer has no norm before its attention, because the embeddings end with one. A layer whose attention reads
    nothing has none either.
    """

    kind = "pre-norm"
    about = "norms before attention and before a gated feed-forward block (ModernBERT)"
    inner = ("ffn_in", "ffn_gate")
    final_norm = True
    components = AttentionLayer.components | {"attention_norm": Component.BEFORE}
    first_stays = "it works without the norm that the others have"

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        super().__init__(config, shape, first)
        self.attention_dropout = nn.Dropout(config.attention_probs_dropout_prob)

    @classmethod
    def norm_before(cls, shape: LayerShape, first: bool) -> bool:
        return not first and bool(ATTENTION[shape.attention].mixes)

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        hidden = None if gates is None else gates.hidden
        mixed = self.attention(normed(self.attention_norm, x, hidden), tokens, gates)
        y = tokens.extract(add(tokens.of(x), mixed, self.attention_dropout, hidden))
        given = self.feed_forward(normed(self.ffn_norm, y, hidden), gates)
        return y if given is None else y + scaled(given, hidden)

    def units(self, x: Tensor) -> Tensor:
        found: Tensor = self.dropout(self.activation(self.ffn_in(x)) * self.ffn_gate(x))
        return found

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedPreNorm(self, positions, first_only)


class ExportedPreNorm(ExportedLayer):
    """The two inner maps of the gated block are one product, where both are one matrix."""

    components = {"inner": Component.FEED_FORWARD}  # noqa: RUF012  (never written to)

    def __init__(self, layer: PreNormLayer, positions: Any, first_only: bool) -> None:
        super().__init__(layer, positions, first_only)
        inner = [layer.ffn_in, layer.ffn_gate] if layer.has_units and layer.attention.folds else []
        self.inner = stacked(inner) if inner and all(isinstance(part, nn.Linear) for part in inner) else None

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        x = self.add(x, self.attention(self.layer.attention_norm(x), shared))
        if shared.ranking is not None:
            batch, _, hidden = x.shape
            x = shared.extract(x.reshape(-1, hidden)).reshape(batch, -1, hidden)
        if not self.layer.has_units:
            given: Tensor | None = self.layer.ffn_out(x)
            return x if given is None else x + given
        rows = self.layer.ffn_norm(x.reshape(-1, x.shape[2]))
        if self.inner is None:
            units = self.layer.units(rows)
        else:
            inner, gate = self.inner(rows).chunk(2, -1)
            units = self.layer.activation(inner) * gate
        return x + self.layer.ffn_out(units).reshape(x.shape)
