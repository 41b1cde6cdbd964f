"""The registries of what a layer can be made of, and what one kind of attention can become.

The parts themselves, which own everything that is to be known of a kind, are in ``encoder/parts``: one file each.
"""

from __future__ import annotations

from typing import Annotated, Any

from ...registry import Registry

PARTS = "trimformer.parts"
"""The group of entry points under which an installed package names its modules with parts."""

ATTENTION: Registry[Any] = Registry("attention kind", "trimformer.encoder.parts.attention", PARTS)
LAYERS: Registry[Any] = Registry("kind of layer", "trimformer.encoder.parts.layers", PARTS)
LINEAR: Registry[Any] = Registry("kind of linear map", "trimformer.encoder.parts.linear", PARTS)
PATTERNS: Registry[Any] = Registry("pattern of attention", "trimformer.encoder.parts.patterns", PARTS)
POSITIONS: Registry[Any] = Registry("position mechanism", "trimformer.encoder.parts.positions", PARTS)


def left_of(kind: str, stand_in: str) -> str:
    """What is left of a layer of a kind where another is to stand in: that other, or the kind itself where it cannot.

    A kind says what it can lose to (``becomes``) and from which others it can be made without training (``made_from``).
    """
    can = stand_in in ATTENTION[kind].becomes or kind in ATTENTION[stand_in].made_from
    return stand_in if can else kind


def stand_ins() -> list[str]:
    """The kinds that a method can put in the place of attention."""
    return [name for name, kind in ATTENTION.items() if kind.stands_in]


class _StandsIn:
    """What pydantic asks for the check of a setting; a model's own import does not load pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.checked, handler(source))

    @staticmethod
    def checked(name: str) -> str:
        if name not in stand_ins():
            raise ValueError(f"{name!r} cannot stand in for attention, use one of {', '.join(stand_ins())}")
        return name


StandIn = Annotated[str, _StandsIn()]
"""The kind that a layer which loses its attention gets in its place."""
