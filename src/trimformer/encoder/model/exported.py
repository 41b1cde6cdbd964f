"""An encoder rearranged for export: the same function, with fewer and larger matrix products.

Every part knows its exported form (``exported`` in ``encoder/parts``); what they share is made once here: the padding
mask is turned into its forms (score bias, mean weights) once, not once per layer, and so are windows and relative
biases; a classifier that reads only the first token gets only that token computed from the last layer on that mixes
tokens. Weights that change are copies, made before the graph is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...errors import TrimformerError
from ..parts.baked import require_baked
from ..parts.elimination import eliminates
from ..parts.exported import ExportedTokens
from .body import TrimformerModel
from .heads import TrimformerWithHead


class ExportedEncoder(nn.Module):
    """The model that is exported; input ids, mask and segments (batch, n) -> logits or last hidden state.

    It shares the weights that stay as they are with the model it was made from, which is not changed. Raises
    TrimformerError for weights under transformation, and for layers that hand on fewer tokens in an encoder without a
    head.
    """

    def __init__(self, model: TrimformerModel | TrimformerWithHead) -> None:
        super().__init__()
        require_baked(model, "exported")
        if eliminates(model.config) and not isinstance(model, TrimformerWithHead):
            raise TrimformerError(
                "Layers of this encoder hand on fewer tokens, so that its last hidden states are not those of all: "
                "export it with the head that reads the first one."
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
        self.handed = [shape.tokens if index < last else None for index, shape in enumerate(body.config.shapes)]
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        x = self.embeddings(input_ids, token_type_ids)
        mask = attention_mask.to(x.dtype)
        places = torch.arange(x.shape[1], device=x.device)[None]
        tokens = ExportedTokens(mask, places, attention_mask.sum(1), x.shape[1], self.positions)
        if self.first_from_start:
            x = x[:, :1]
        for layer, kept in zip(self.layers, self.handed, strict=True):
            tokens = tokens.handing_on(kept)
            x = layer(x, tokens)
            tokens = tokens.left()
        x = self.norm(x)
        return x if self.head is None else self.head(x, attention_mask)
