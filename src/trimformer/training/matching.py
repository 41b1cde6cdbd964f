"""Which layer of the teacher teaches which layer of the student."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property

from ..encoder.parts.elimination import eliminates
from ..encoder.parts.trace import Trace
from ..encoder.shape.config import LayerShape, TrimformerConfig
from ..encoder.shape.kinds import ATTENTION, LAYERS
from ..errors import TrimformerError

Pair = tuple[int, int]
"""A layer of the student and the layer of the teacher that it learns from, both from 0."""


@dataclasses.dataclass(frozen=True)
class Layers:
    """The layers of a student and of its teacher. layer_map: see ObjectiveSettings."""

    student: TrimformerConfig
    teacher: TrimformerConfig
    layer_map: list[int] | None = None

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Each layer of the student with its teacher; raises TrimformerError where the map does not fit them."""
        check_layer_map(self.layer_map, self.teacher)
        return tuple(enumerate(self._map()))

    @property
    def alike(self) -> tuple[Pair, ...]:
        """The pairs whose layers both see all tokens of a row, or both each text of a pair by itself."""
        return tuple(pair for pair in self.pairs if len(set(self._split(pair))) == 1)

    @property
    def attending(self) -> tuple[Pair, ...]:
        """The pairs whose layers both have queries, keys and values for all tokens of a row."""
        return tuple(pair for pair in self.pairs if not any(self._split(pair)) and all(map(attends, self.shapes(pair))))

    @property
    def head_by_head(self) -> tuple[Pair, ...]:
        """The pairs whose layers both have attention scores, of equally many heads."""
        return tuple(pair for pair in self.attending if len({shape.heads for shape in self.shapes(pair)}) == 1)

    def shapes(self, pair: Pair) -> tuple[LayerShape, LayerShape]:
        """What the two layers of a pair attend with, the student's first."""
        return attending(self.student, pair[0]), attending(self.teacher, pair[1])

    def _split(self, pair: Pair) -> tuple[bool, bool]:
        """Whether each layer of a pair sees the texts of a row by themselves."""
        return pair[0] < self.student.split_layers, pair[1] < self.teacher.split_layers

    def _map(self) -> list[int]:
        student, teacher = self.student.num_hidden_layers, self.teacher.num_hidden_layers
        if self.layer_map is not None:
            if len(self.layer_map) != student:
                raise TrimformerError(
                    f"layer_map has {len(self.layer_map)} entries, but the student has {student} layers: name one "
                    "layer of the teacher for each."
                )
            return self.layer_map
        if student > teacher:
            raise TrimformerError(
                f"The student has {student} layers and the teacher only {teacher}: say in layer_map which teaches "
                "which."
            )
        # TinyBERT, section 4.2: g(m) = m N / M for layers numbered from 1, here rounded down where that is no integer.
        return [(index + 1) * teacher // student - 1 for index in range(student)]


def attending(model: TrimformerConfig, layer: int) -> LayerShape:
    """The sizes of what a layer leaves in a trace."""
    shape: LayerShape = LAYERS[model.layer_kind].attending(model.shapes[layer])
    return shape


def attends(shape: LayerShape) -> bool:
    """Whether a layer has queries, keys and values, so that a pass leaves a trace of it."""
    return bool(ATTENTION[shape.attention].attends)


def check_all_tokens(layers: Layers, term: str) -> None:
    """Raise TrimformerError where layers of a model hand on fewer tokens: a term that compares all cannot."""
    for whose, config in (("the student", layers.student), ("its teacher", layers.teacher)):
        if eliminates(config):
            raise TrimformerError(
                f"The term {term!r} of the objective compares all tokens, and layers of {whose} hand on fewer: distil "
                "the answers alone (logits)."
            )


def traced(pairs: Iterable[Pair], trace: Trace) -> list[Pair]:
    """The pairs whose student layer attended in the pass that left this trace: a method may have gated it off."""
    return [pair for pair in pairs if trace[pair[0]] is not None]


def check_layer_map(layer_map: Sequence[int] | None, teacher: TrimformerConfig) -> None:
    """Raise TrimformerError where the map names a layer that the teacher does not have."""
    layers = teacher.num_hidden_layers
    wrong = [index for index in layer_map or [] if index >= layers]
    if wrong:
        raise TrimformerError(
            f"layer_map names the layer {wrong[0]} of the teacher, whose layers are numbered 0 to {layers - 1}."
        )
