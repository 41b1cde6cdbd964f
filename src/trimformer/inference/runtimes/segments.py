"""The files of a model with exits: one for each segment, which is the layers from one exit to the next, and its head.

The first segment reads the inputs of an encoder, every other one the states that the one before it gives, and the mask.
All but the last one give states and logits, the last one logits alone. Where layers hand on fewer tokens, segments also
give mask and places of those that are left, which the next one reads beside the mask of the whole texts. Each name says
which of how many a file is, so that none is taken for a whole model: ``model.1-of-3.onnx``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol

import numpy as np

SEGMENT_OUTPUTS = ("next_states", "logits")
FEWER_OUTPUTS = ("next_states", "next_mask", "next_places", "logits")
"""The same of an encoder whose layers hand on fewer tokens."""
TEXT_MASK = "text_mask"
NAME = re.compile(r"(?P<whole>.+)\.\d+-of-(?P<count>\d+)")


class SegmentSession(Protocol):
    """What runs a segment. May be called from several threads at the same time."""

    def outputs(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs, from all inputs by their names."""
        ...


def files_of(file: Path, count: int) -> list[Path]:
    """What stands for a file of a model of so many segments; of one that is whole the file itself."""
    return [file] if count == 1 else _numbered(file.with_suffix(""), file.suffix, count)


def segments_in(exits: Mapping[str, Any] | None) -> int:
    """How many segments a model with this field ``exits`` in its configuration has."""
    return 1 if exits is None else len(exits["after"]) + 1


def together(file: Path) -> list[Path]:
    """All files of a model, given one of them."""
    found = NAME.fullmatch(file.stem)
    return [file] if found is None else _numbered(file.with_name(found["whole"]), file.suffix, int(found["count"]))


def whole(file: PurePath) -> PurePath:
    """Where the file would be if it were not divided."""
    found = NAME.fullmatch(file.stem)
    return file if found is None else file.with_name(f"{found['whole']}{file.suffix}")


def _numbered(stem: Path, suffix: str, count: int) -> list[Path]:
    return [stem.with_name(f"{stem.name}.{number}-of-{count}{suffix}") for number in range(1, count + 1)]


def all_outputs(sessions: Iterable[SegmentSession], given: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    """What every segment says of all rows: the logits at each exit and at the end. given: an encoder's inputs."""
    for session in sessions:
        outputs = session.outputs(given)
        yield outputs[-1]
        given = next_inputs(outputs, given)  # of the last one nobody reads them


def next_inputs(outputs: Sequence[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of the segment after the one that gave these outputs, which are arrays, or all of them tensors."""
    if len(outputs) < len(FEWER_OUTPUTS):
        return {"states": outputs[0], "attention_mask": given["attention_mask"]}
    states, mask, places, _ = outputs
    text = given.get(TEXT_MASK, given["attention_mask"])
    return {"states": states, "attention_mask": mask, "places": places, TEXT_MASK: text}
