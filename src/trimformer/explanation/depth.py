"""How many layers texts need: exits that nobody trains, fitted in closed form behind each layer.

A ridge regression (Hoerl and Kennard, 1970) gives the model's own logits from what an exit reads there: the mean over
the tokens, or, where layers drop some, what the head reads. A text needs as many layers as it takes until such an exit
is sure of its answer. From which probability on it counts as sure is chosen so that answers stay those of the model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..deploy.agreement import agrees
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.model.heads.texts import mean_of
from ..encoder.parts.elimination import eliminates
from ..methods.weights.least_squares import LeastSquares
from ..tasks.encoding.batches import bucketed_batches, drawn_rows
from ..tasks.encoding.encoded import Encoded
from ..training.evaluate import device_of, evaluating
from .findings import Depth

ROWS = 1024
"""Texts that exits are fitted on; so many more choose when they are sure, and at most so many are counted."""
RIDGE = 0.01
"""How much the maps are held to 0, in means of squared inputs."""
LEVELS = 50
"""Probabilities that are tried."""


def depth(net: TrimformerWithHead, given: Encoded, asked: Encoded, seed: int = 0) -> Depth | None:
    """How many layers texts need of a model for one label per text; None for others, for one layer and for few rows.

    given: rows for the exits, asked: rows that are counted. Where both are the same, each is a part of them.
    """
    layers, labels = net.config.num_hidden_layers, len(net.config.label_names)
    if net.kind != "classification" or labels < 2 or layers < 2 or min(len(given), len(asked)) < 3:
        return None
    own = drawn_rows(len(given), 2 * ROWS, seed)
    fitted, chosen, counted = own[::2], own[1::2], drawn_rows(len(asked), ROWS, seed)
    if given is asked:
        own = drawn_rows(len(given), 3 * ROWS, seed)
        fitted, chosen, counted = own[::3], own[1::3], own[2::3]
    exits = [LeastSquares(net.config.hidden_size, labels, bias=True) for _ in range(layers - 1)]
    for states, logits in _passes(net, given, fitted):
        for one, state in zip(exits, states, strict=True):
            one.add(state, logits)
    maps = [_map(one) for one in exits]
    every, asked_logits = _said(net, maps, given, chosen), _said(net, maps, asked, counted)
    levels = torch.linspace(1 / labels, 1, LEVELS + 1).tolist()
    sure = next(level for level in levels if level == 1 or agrees(_same(every, _left(every, level))))
    left = _left(asked_logits, sure)
    return Depth(left.bincount(minlength=layers).tolist(), _same(asked_logits, left), sure, len(fitted))


def _left(every: Tensor, sure: float) -> Tensor:
    """The place of the first exit that is sure of each row, or of the last layer: (layers, rows, labels) -> (rows,)."""
    found = every.softmax(-1).amax(-1) >= sure
    found[-1] = True
    return found.long().argmax(0)


def _same(every: Tensor, left: Tensor) -> float:
    """The share of the rows that get the answer of the last layer where they leave."""
    answers = every.argmax(-1)
    return float((answers[left, torch.arange(len(left))] == answers[-1]).double().mean())


def _map(exit_: LeastSquares) -> tuple[Tensor, Tensor]:
    weight, bias = exit_.solve(RIDGE)
    assert bias is not None, "it was asked for"
    return weight, bias


def _said(net: TrimformerWithHead, maps: list[tuple[Tensor, Tensor]], data: Encoded, rows: np.ndarray) -> Tensor:
    """What the exits and the model say of these rows, in any order: (layers, rows, labels)."""
    found = []
    for states, logits in _passes(net, data, rows):
        said = [state.double().cpu() @ weight.T + bias for state, (weight, bias) in zip(states, maps, strict=True)]
        found.append(torch.stack([*said, logits.double().cpu()]))
    return torch.cat(found, 1)


def _passes(net: TrimformerWithHead, data: Encoded, rows: np.ndarray) -> Iterator[tuple[list[Tensor], Tensor]]:
    """What exits read after each layer but the last one, (batch, hidden) each, and the logits."""
    pool = net.head.pool if eliminates(net.config) else mean_of
    for indices in bucketed_batches(data.lengths[rows], 32, 0, 0, shuffle=False):
        batch = data.batch(rows[indices].tolist())
        inputs = {name: value.to(device_of(net)) for name, value in batch.items() if name != "labels"}
        with torch.no_grad(), evaluating(net):
            out = net(**inputs, output_hidden_states=True)
        mask = inputs["attention_mask"]
        yield [pool(net.encoder.norm(state), mask) for state in out.hidden_states[1:-1]], out.logits
