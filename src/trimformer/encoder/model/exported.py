"""An encoder rearranged for export: the same function, with fewer and larger matrix products.

Every part knows its exported form (``exported`` in ``encoder/parts``); what they share is made once here: the padding
mask is turned into its forms (score bias, mean weights) once, not once per layer, and so are windows and relative
biases; a classifier that reads only the first token gets only that token computed from the last layer on that mixes
tokens, or, where that is later, behind the last exit that reads all of them. Weights that change are copies, made
before the graph is written.

A model with exits is exported in segments: the layers from one exit to the next, and its head. What layers share is
made anew in each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...errors import TrimformerError
from ...saved.exits import ExitShape
from ..parts.baked import require_baked
from ..parts.elimination import eliminates
from ..parts.exported import ExportedTokens
from .body import TrimformerModel
from .heads import TrimformerWithHead


class ExportedEncoder(nn.Module):
    """The model that is exported; input ids, mask and segments (batch, n) -> logits or last hidden state.

    start, stop: of the layers of a segment, all by default. One that does not end with the last layer ends with an
    exit: it gives states (batch, n, hidden), or of the first token alone (batch, 1, hidden), and the logits there.
    Where layers of the encoder hand on fewer tokens, it gives mask and places, int64 (batch, k), of those that are left
    between the two.

    It shares the weights that stay as they are with the model it was made from, which is not changed. Raises
    TrimformerError for weights under transformation, and for layers that hand on fewer tokens in an encoder without a
    head.
    """

    components = TrimformerModel.components | TrimformerWithHead.components

    def __init__(self, model: TrimformerModel | TrimformerWithHead, start: int = 0, stop: int | None = None) -> None:
        super().__init__()
        require_baked(model, "exported")
        if model.config.split_layers:
            raise TrimformerError(
                "A model whose first layers see each text of a pair by itself is exported in two halves, not as one "
                "graph."
            )
        if eliminates(model.config) and not isinstance(model, TrimformerWithHead):
            raise TrimformerError(
                "Layers of this encoder hand on fewer tokens, so that its last hidden states are not those of all: "
                "export it with the head that reads the first one."
            )
        body = model.encoder if isinstance(model, TrimformerWithHead) else model
        self.exits = self.head = None
        if stop is not None and stop < len(body.layers):
            self.exits = nn.ModuleDict({str(stop - 1): cast(Any, model).exits[str(stop - 1)]})
        elif isinstance(model, TrimformerWithHead):
            self.head = model.head
        # From this layer on only the first token is computed; before it, if it does not mix the tokens.
        reads_first = isinstance(model, TrimformerWithHead) and model.reads_first(model.config)
        last = max(body.config.first_alone, start) if reads_first else len(body.layers)
        mixes = last == body.config.last_mixing
        self.first_from_start = start == last and not mixes
        self.embeddings, self.norm = body.embeddings, body.norm
        self.positions = body.positions
        # The same bias in all layers is added to the padding's before the first one.
        in_layers = None if self.positions.same_for_layers else self.positions
        # Layers that share their weights become one module, so that the file holds it once.
        known: dict[tuple[nn.Module, type, bool], nn.Module] = {}
        self.layers = nn.ModuleDict()  # by their places in the whole, after which their weights are named
        for index, layer in list(enumerate(cast(Iterable[Any], body.layers)))[start:stop]:
            key = (layer.whose, type(layer.attention), mixes and index == last)
            if key not in known:
                known[key] = layer.exported(in_layers, first_only=key[-1])
            self.layers[str(index)] = known[key]
        handed = [shape.tokens if index < last else None for index, shape in enumerate(body.config.shapes)]
        self.handed, self.eliminates = handed[start:stop], eliminates(model.config)
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Any:
        x = self.embeddings(input_ids, token_type_ids)
        places = torch.arange(attention_mask.shape[1], device=x.device)[None]
        return self.answer(x, attention_mask, places, attention_mask)

    def answer(self, x: Tensor, attention_mask: Tensor, places: Tensor, text_mask: Tensor) -> Any:
        """The outputs, from the states that the first layer reads. text_mask: of whole texts, (batch, n)."""
        x = x[:, :1] if self.first_from_start else x
        mask, length = attention_mask.to(x.dtype), text_mask.shape[1]
        tokens = ExportedTokens(mask, places, text_mask.sum(1), length, self.positions)
        for layer, kept in zip(self.layers.values(), self.handed, strict=True):
            tokens = tokens.handing_on(kept)
            x = layer(x, tokens)
            tokens = tokens.left()
        y = self.norm(x)
        if self.exits is not None:
            (head,) = self.exits.values()
            left = (tokens.mask.long(), tokens.places.expand(tokens.mask.shape)) if self.eliminates else ()
            return x, *left, head(y, attention_mask)
        return y if self.head is None else self.head(y, attention_mask)


class LaterSegment(ExportedEncoder):
    """A segment after an exit: states as the one before gives them, mask (batch, n) -> as :class:`ExportedEncoder`.

    Where layers of the encoder hand on fewer tokens, mask and places (batch, k) are of those that are left, and
    text_mask (batch, n) is that of the whole texts.
    """

    def __init__(self, model: TrimformerWithHead, start: int, stop: int) -> None:
        super().__init__(model, start, stop)
        del self.embeddings

    def forward(
        self, states: Tensor, attention_mask: Tensor, places: Tensor | None = None, text_mask: Tensor | None = None
    ) -> Any:
        if places is None or text_mask is None:
            places, text_mask = torch.arange(attention_mask.shape[1], device=states.device)[None], attention_mask
        return self.answer(states, attention_mask, places, text_mask)


def exported_pieces(model: TrimformerModel | TrimformerWithHead) -> list[ExportedEncoder]:
    """What is exported of a model, a file each: the whole, or the segments of one with exits."""
    if model.config.exits is None or not isinstance(model, TrimformerWithHead):
        return [ExportedEncoder(model)]
    ends = [layer + 1 for layer in ExitShape.read(model.config.exits).after]
    later = zip(ends, [*ends[1:], len(model.encoder.layers)], strict=True)
    return [ExportedEncoder(model, 0, ends[0]), *(LaterSegment(model, start, stop) for start, stop in later)]
