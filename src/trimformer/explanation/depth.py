"""How many layers texts need: exits that nobody trains, fitted in closed form behind each layer.

A ridge regression (Hoerl and Kennard, 1970) gives the model's own logits from what its head would read if the encoder
ended after that layer. A text needs as many layers as it takes until such an exit is sure of its answer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..encoder.model.heads import TrimformerWithHead
from ..methods.weights.least_squares import LeastSquares
from ..tasks.encoding.batches import bucketed_batches, drawn_rows
from ..tasks.encoding.encoded import Encoded
from ..training.evaluate import device_of, evaluating
from .findings import SURE, Depth

ROWS = 1024
"""Texts that exits are fitted on, and at most as many that they are asked for."""
RIDGE = 0.01
"""How much the maps are held to 0, in means of squared inputs."""


def depth(net: TrimformerWithHead, given: Encoded, asked: Encoded, seed: int = 0) -> Depth | None:
    """How many layers texts need of a model for one label per text; None for other models, and of one layer alone.

    given: rows that the exits are fitted on; asked: rows that are counted. Where both are the same, exits are fitted on
    one half of them, and the other is counted.
    """
    layers = net.config.num_hidden_layers
    if net.kind != "classification" or layers < 2 or len(asked) < 2:
        return None
    fitted, counted = drawn_rows(len(given), ROWS, seed), drawn_rows(len(asked), ROWS, seed)
    if given is asked:
        fitted, counted = counted[::2], counted[1::2]
    exits = [LeastSquares(net.config.hidden_size, len(net.config.label_names), bias=True) for _ in range(layers - 1)]
    for states, logits in _passes(net, given, fitted):
        for one, own in zip(exits, states, strict=True):
            one.add(own, logits)
    maps = [one.solve(RIDGE) for one in exits]
    executed, same = torch.zeros(layers, dtype=torch.long), 0
    for states, logits in _passes(net, asked, counted):
        said = [own.double().cpu() @ weight.T + bias for own, (weight, bias) in zip(states, maps, strict=True)]
        every = torch.stack([*said, logits.double().cpu()])
        sure = every.softmax(-1).amax(-1) >= SURE
        sure[-1] = True
        left = sure.long().argmax(0)
        executed += left.bincount(minlength=layers)
        answers = every.argmax(-1)
        same += int((answers[left, torch.arange(len(left))] == answers[-1]).sum())
    return Depth(executed.tolist(), same / len(counted), len(fitted))


def _passes(net: TrimformerWithHead, data: Encoded, rows: np.ndarray) -> Iterator[tuple[list[Tensor], Tensor]]:
    """What the head would read after each layer but the last one, (batch, hidden) each, and the logits."""
    for indices in bucketed_batches(data.lengths[rows], 32, 0, 0, shuffle=False):
        batch = data.batch(rows[indices].tolist())
        inputs = {name: value.to(device_of(net)) for name, value in batch.items() if name != "labels"}
        with torch.no_grad(), evaluating(net):
            out = net(**inputs, output_hidden_states=True)
        mask = inputs["attention_mask"]
        yield [net.head.pool(net.encoder.norm(own), mask) for own in out.hidden_states[1:-1]], out.logits
