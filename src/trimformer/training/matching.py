"""Which layer of the teacher teaches which layer of the student."""

from __future__ import annotations

import dataclasses

from ..encoder.shape.config import TrimformerConfig
from ..errors import TrimformerError
from .settings import ObjectiveSettings

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Matching:
    """Pairs (layer of the student, layer of the teacher), from 0, that the terms of an objective compare.

    A term that is off has none. hidden: all layers of the student. attention: those with full attention in both and
    equally many heads. relations: the student's last with full attention in both, and equally many heads where the
    attention distribution itself is compared. relation_heads: of its queries, keys and values.
    """

    hidden: tuple[Pair, ...] = ()
    attention: tuple[Pair, ...] = ()
    relations: tuple[Pair, ...] = ()
    relation_heads: int = 0


def match_layers(settings: ObjectiveSettings, student: TrimformerConfig, teacher: TrimformerConfig) -> Matching:
    """What the terms compare; raises TrimformerError where a term has nothing to compare."""
    if not (settings.hidden or settings.reads_trace):
        return Matching()
    check_layer_map(settings, teacher)
    pairs = enumerate(_layer_map(settings, student.num_hidden_layers, teacher.num_hidden_layers))
    shapes = {pair: (student.shapes[pair[0]], teacher.shapes[pair[1]]) for pair in pairs}
    full = tuple(pair for pair, (s, t) in shapes.items() if s.attention == t.attention == "full")
    alike = tuple(pair for pair in full if shapes[pair][0].heads == shapes[pair][1].heads)
    related = (alike if "attention" in settings.relation_terms else full)[-1:]
    matching = Matching(
        hidden=tuple(shapes) if settings.hidden else (),
        attention=alike if settings.attention else (),
        relations=related if settings.relations else (),
    )
    for term in ("hidden", "attention", "relations"):
        if getattr(settings, term) and not getattr(matching, term):
            raise TrimformerError(
                f"The term {term!r} of the objective has nothing to compare: no layer of the student is of a kind with "
                "the layer of the teacher that it learns from (full attention, and as many heads where scores are "
                "compared); leave the term out."
            )
    if not matching.relations:
        return matching
    heads = settings.relation_heads or shapes[related[0]][1].heads
    for who, shape in zip(("student", "teacher"), shapes[related[0]], strict=True):
        widths = {"query": shape.query_key_width, "key": shape.query_key_width, "value": shape.width, "attention": 0}
        for term in settings.relation_terms:
            if widths[term] % heads:
                raise TrimformerError(
                    f"The {who}'s {term} is {widths[term]} wide, which {heads} relation heads do not divide: give "
                    "relation_heads a number that divides the width of student and teacher."
                )
    return dataclasses.replace(matching, relation_heads=heads)


def check_layer_map(settings: ObjectiveSettings, teacher: TrimformerConfig) -> None:
    """Raise TrimformerError where the map names a layer that the teacher has not."""
    layers = teacher.num_hidden_layers
    wrong = [index for index in settings.layer_map or [] if index >= layers]
    if wrong:
        raise TrimformerError(
            f"layer_map names the layer {wrong[0]} of the teacher, whose layers are numbered 0 to {layers - 1}."
        )


def _layer_map(settings: ObjectiveSettings, student: int, teacher: int) -> list[int]:
    """The teacher's layer for each layer of the student."""
    if settings.layer_map is not None:
        if len(settings.layer_map) != student:
            raise TrimformerError(
                f"layer_map has {len(settings.layer_map)} entries, but the student has {student} layers: name one "
                "layer of the teacher for each."
            )
        return settings.layer_map
    if student > teacher:
        raise TrimformerError(
            f"The student has {student} layers and the teacher only {teacher}: say in layer_map which teaches which."
        )
    # TinyBERT, section 4.2: g(m) = m N / M for layers numbered from 1, here rounded down where that is no integer.
    return [(index + 1) * teacher // student - 1 for index in range(student)]
