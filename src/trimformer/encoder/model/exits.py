"""Early exits at work: a batch whose rows leave as soon as an exit is sure of them.

An exit reads what the head would read if the encoder ended after its layer, so that a final norm comes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...saved.exits import ExitShape, Leaving, exits_of
from ..parts.norms import normed
from ..parts.trace import BodyOutput
from ..shape.gates import Gates, hard_value


class Left(NamedTuple):
    """logits: in the order of the rows, that of the exit at which each row left; at padding they mean nothing.

    executed: (batch,), the layers that each row went through.
    """

    logits: Tensor
    executed: Tensor


def with_exits(model: Any, shape: ExitShape) -> Any:
    """The model, changed so that it has these exits, whose heads start with random weights.

    Raises TrimformerError where it cannot have them.
    """
    shape.check_layers(len(model.encoder.layers))
    model.config.exits = shape.to_dict()
    model.exits = model.exit_heads(model.config).to(model.device, model.dtype)
    for module in model.exits.modules():
        model._init_weights(module)
    return model


def without_exits(model: Any) -> Any:
    """The model, changed so that every text goes through all layers."""
    model.config.exits, model.exits = None, torch.nn.ModuleDict()
    return model


def early_exit(
    model: Any, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
) -> Left:
    """Run a model with exits: rows that are sure leave, the others go on in a smaller batch, with less padding.

    Each row gets the answer that it gets alone, to the rounding of sums over other paddings.
    """
    body, shape = model.encoder, ExitShape.read(model.config.exits)
    leaving, reads_first = Leaving(shape, model.kind), model.reads_first(model.config)
    first_alone = max(body.last_mixing, shape.all_read)
    x, tokens = body.begin(input_ids, attention_mask, token_type_ids)
    rows = torch.arange(len(input_ids), device=input_ids.device)
    executed = torch.full_like(rows, len(body.layers))
    parts: list[tuple[Tensor, Tensor]] = []
    for index in range(len(body.layers)):
        x, tokens = body.step(index, x, tokens, first_only=reads_first and index == first_alone)
        if index not in shape.after:
            continue
        logits = model.exits[str(index)](body.norm(x), tokens.attention_mask)
        gone = torch.from_numpy(leaving(_array(logits), _array(tokens.attention_mask))).to(rows.device)
        if not gone.any():
            continue
        parts.append((rows[gone], logits[gone]))
        executed[rows[gone]] = index + 1
        rows = rows[~gone]
        if not len(rows):
            break
        tokens, x = tokens.rows(~gone, x)
    else:
        parts.append((rows, model.head(body.norm(x), tokens.attention_mask)))
    first = parts[0][1]
    size = (input_ids.shape[1],) if first.ndim == 3 else ()
    every = first.new_zeros(len(executed), *size, first.shape[-1])
    for places, logits in parts:
        if size:
            every[places, : logits.shape[1]] = logits
        else:
            every[places] = logits
    return Left(every, executed)


def standing(shape: ExitShape, layers: int, gates: Gates | None) -> Sequence[int]:
    """The layers behind which an exit stands under these gates: as :func:`trim` keeps them."""
    given = None if gates is None else gates.layers
    kept = [index for index in range(layers) if given is None or hard_value(given[index]) != 0]
    return [layer for layer in kept[:-1] if layer in shape.after]


def exit_logits(model: Any, out: BodyOutput, attention_mask: Tensor | None, gates: Gates | None) -> list[Tensor]:
    """What all exits say of all rows, given the hidden states of a pass through all layers."""
    body, shape = model.encoder, ExitShape.read(model.config.exits)
    hidden, states = None if gates is None else gates.hidden, out.hidden_states
    assert states is not None
    return [
        model.exits[str(layer)](normed(body.norm, states[layer + 1], hidden), attention_mask)
        for layer in standing(shape, len(body.layers), gates)
    ]


def chosen(
    model: Any, logits: Sequence[Tensor], attention_mask: Tensor | None = None, gates: Gates | None = None
) -> Left:
    """As :func:`early_exit`, given what all exits and, behind them, the last head say of all rows."""
    shape, layers = ExitShape.read(model.config.exits), len(model.encoder.layers)
    found = exits_of(shape, model.kind, [_array(own) for own in logits], _array(attention_mask))
    number, rows = torch.from_numpy(found), torch.arange(len(found))
    executed = torch.tensor([*standing(shape, layers, gates), layers - 1])[number] + 1
    return Left(torch.stack([*logits])[number, rows], executed.to(logits[-1].device))


def _array(x: Tensor | None) -> np.ndarray:
    found: Any = None if x is None else x.detach().float().cpu().numpy()
    return found
