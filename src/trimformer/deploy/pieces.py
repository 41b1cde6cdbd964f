"""The files that stand for one model: a whole, a segment for each exit, or the two halves of a split model.

That by which the others are found comes first. What each is given can be made from the inputs of the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..encoder import TrimformerModel, TrimformerWithHead
from ..inference.runtimes.halves import HalvesSession, joined, lower_of, texts_of
from ..inference.runtimes.segments import all_outputs, files_of, next_inputs, segments_in, together

Inputs = dict[str, np.ndarray]


def segments_of(model: TrimformerModel | TrimformerWithHead) -> int:
    """How many segments a model is divided into by its exits."""
    return segments_in(model.config.exits) if isinstance(model, TrimformerWithHead) else 1


def pieces_of(file: Path, model: TrimformerModel | TrimformerWithHead) -> list[Path]:
    """What stands for a file of this model."""
    return [file, lower_of(file)] if model.config.split_layers else files_of(file, segments_of(model))


def beside(first: Path, model: TrimformerModel | TrimformerWithHead) -> list[Path]:
    """The same, given the first of them."""
    return [first, lower_of(first)] if model.config.split_layers else together(first)


def outputs(sessions: Sequence[Any], halves: bool, given: Inputs) -> list[np.ndarray]:
    """What the pieces say of these inputs: the output, or the logits at all exits and at the end."""
    return [HalvesSession(*sessions).run(given)] if halves else list(all_outputs(sessions, given))


def inputs_of(sessions: Sequence[Any], halves: bool, given: Sequence[Inputs]) -> Iterator[list[Inputs]]:
    """What each piece is given where the whole model is given these inputs."""
    if not halves:
        own = list(given)
        yield own
        for session in sessions[:-1]:
            own = [next_inputs(session.outputs(sample), sample) for sample in own]
            yield own
        return
    texts, states = [], []
    for sample in given:
        found, home = texts_of(sample)
        texts += found
        states.append(
            {
                "states": joined([sessions[1].run(text) for text in found], home),
                "attention_mask": sample["attention_mask"],
            }
        )
    yield states
    yield texts
