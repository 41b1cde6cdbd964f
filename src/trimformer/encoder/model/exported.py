"""An encoder rearranged for export: the same function, with fewer and larger matrix products.

Every part knows its exported form (``exported`` in ``encoder/parts``); what they share is made once here: the padding
mask is turned into its forms (score bias, mean weights) once, not once per layer, and so are windows and relative
biases; a classifier that reads only the first token gets only that token computed from the last layer on that mixes
tokens. Weights that change are copies, made before the graph is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from torch import Tensor, nn

from ...errors import TrimformerError
from ..parts.baked import require_baked
from ..parts.exported import PADDED_SCORE, ExportedTokens, by_blocks, within
from .body import TrimformerModel
from .heads import TrimformerWithHead


class ExportedEncoder(nn.Module):
    """The model that is exported; input ids, mask and segments (batch, n) -> logits or last hidden state.

    It shares the weights that stay as they are with the model it was made from, which is not changed. Raises
    TrimformerError for weights under transformation.
    """

    def __init__(self, model: TrimformerModel | TrimformerWithHead) -> None:
        super().__init__()
        require_baked(model, "exported")
        if model.config.split_layers:
            raise TrimformerError(
                "A model whose first layers see each text of a pair by itself is exported in two halves, not as one "
                "graph."
            )
        body = model.encoder if isinstance(model, TrimformerWithHead) else model
        self.head = model.head if isinstance(model, TrimformerWithHead) else None
        # From this layer on only the first token is computed; before the first one, if no layer mixes the tokens.
        reads_first = isinstance(model, TrimformerWithHead) and model.reads_first(model.config)
        last = body.config.last_mixing if reads_first else len(body.layers)
        self.first_from_start = last < 0
        self.embeddings, self.norm = body.embeddings, body.norm
        self.positions = body.positions
        # The same bias in all layers is added to the padding's before the first one.
        in_layers = None if self.positions.same_for_layers else self.positions
        # Layers that share their weights become one module, so that the file holds it once.
        known: dict[tuple[nn.Module, type, bool], nn.Module] = {}
        chosen = []
        for index, layer in enumerate(cast(Iterable[Any], body.layers)):
            key = (layer.whose, type(layer.attention), index == last)
            if key not in known:
                known[key] = layer.exported(in_layers, first_only=key[-1])
            chosen.append(known[key])
        self.layers = nn.ModuleList(chosen)
        bands: dict[Any, None] = {}
        kinds_of_bias: dict[Any, None] = {}
        for index, layer in enumerate(cast(Iterable[Any], body.layers)):
            part, first_only = layer.attention, index == last
            if part.attends and (first_only or part.long_band is None):
                kinds_of_bias[part.window, part.columns, first_only] = None
            elif part.attends:
                bands[part.long_band] = None
        self.bands, self.kinds_of_bias = list(bands), list(kinds_of_bias)
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        x = self.embeddings(input_ids, token_type_ids)
        mask = attention_mask.to(x.dtype)
        mean_weights = (mask / mask.sum(1, keepdim=True).clamp(min=1))[:, None]
        padding = ((1 - mask) * PADDED_SCORE)[:, None, None]
        state: Any = self.positions.prepare(x)
        if self.first_from_start:
            x = x[:, :1]
        shared: dict[Any, Tensor] = {}
        biases: dict[Any, Tensor] = {}
        for window, columns, first_only in self.kinds_of_bias:
            if columns not in shared:
                shared[columns] = padding + state[columns] if self.positions.same_for_layers else padding
            bias = shared[columns]
            biases[window, columns, first_only] = bias if window is None else within(bias, window, first_only)
        bands = {band: by_blocks(mask, band) for band in self.bands}
        tokens = ExportedTokens(mask, mean_weights, biases, state, bands, {})
        for layer in self.layers:
            x = layer(x, tokens)
        x = self.norm(x)
        return x if self.head is None else self.head(x, attention_mask)
