"""What every pattern is: a mask over pairs of tokens that is known from their places alone.

A new pattern is a frozen dataclass, a subclass of :class:`Pattern` or :class:`ByDistance` beside this file or in an
installed package, registered with ``@PATTERNS.add(name)``. Its fields are its settings. A pair of places is kept or not
whatever the length of the text: padding must change nothing, so that a pattern must not ask for n but to be that large.
All is made by operations on whole numbers that export as they are, so that a file takes texts of any length.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ....errors import TrimformerError
from ...shape.kinds import PATTERNS
from ..band import Band


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Which keys the query of each token attends to.

    about: a line for people. examples: settings beside the name, for the laws, which have two heads.
    strips: so many first tokens attend to all and are attended by all. reach: the largest distance of a pair that is
    kept beside these; None: no distance is too large. band: how it is computed by blocks; None: it is not.
    """

    about: ClassVar[str]
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    @property
    def strips(self) -> int:
        return 0

    @property
    def reach(self) -> int | None:
        return None

    @property
    def band(self) -> Band | None:
        return None

    def allowed(self, n: int, heads: int, device: torch.device) -> Tensor:
        """Which pairs (query, key) are kept among n tokens: boolean, (heads, n, n), or (1, n, n) for all heads."""
        raise NotImplementedError

    def check(self, heads: int, tokens: int | None = None) -> None:
        """Raise TrimformerError where it is none for so many heads, or for texts of so many tokens at most."""

    def of_heads(self, heads: Sequence[int]) -> Self:
        """What is left for these heads."""
        return self

    def sparsity(self, n: int, heads: int) -> float:
        """The share of the pairs of n tokens that are not kept, over all heads."""
        kept, cpu = 0.0, torch.device("cpu")
        for head in range(heads):  # one by one: the masks of all heads of a long text take gigabytes
            kept += self.of_heads([head]).allowed(n, 1, cpu).count_nonzero().item()
        return 1 - kept / (heads * n * n)


@dataclasses.dataclass(frozen=True)
class ByDistance(Pattern):
    """A pattern that keeps pairs by their distance, and the rows and columns of the first tokens."""

    def keeps(self, distance: Tensor) -> Tensor:
        """Whether pairs of these distances (…) are kept: (heads, …), or (1, …) for all heads."""
        raise NotImplementedError

    @property
    def distances(self) -> tuple[tuple[int, ...], ...] | None:
        """For each head those that are kept; None: all up to ``reach``."""
        return None

    @functools.cached_property
    def band(self) -> Band | None:
        """None, too, where a token does not see itself: what it sees when no other is near is not by blocks."""
        itself = torch.zeros(1, dtype=torch.long, device="cpu")  # also where a model is made without memory
        if self.reach is None or not self.keeps(itself).all():
            return None
        return Band(self.reach, self.strips, self.distances)

    def allowed(self, n: int, heads: int, device: torch.device) -> Tensor:
        places = torch.arange(n, device=device)
        kept = self.keeps((places[:, None] - places).abs())
        if not self.strips:
            return kept
        dense = places < self.strips
        return kept | dense | dense[:, None]


def whole(default: int, least: int = 1) -> Any:
    """A setting that is a whole number."""
    return dataclasses.field(default=default, metadata={"least": least})


def one_for_each(given: Sequence[Any], heads: int, what: str) -> None:
    """Raise TrimformerError where a pattern has not one of these for each head."""
    if len(given) != heads:
        raise TrimformerError(
            f"The layer has {heads} heads, but its pattern has {len(given)} {what}: give one for each."
        )


def read(settings: Any) -> Pattern:
    """The pattern that ``{"name": …}`` and its settings are; raises TrimformerError for what is none."""
    if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
        raise TrimformerError(
            f"A pattern is a name with its settings, such as {{name: window, window: 16}}, got {settings!r}."
        )
    name, kind = settings["name"], PATTERNS.find(settings["name"])
    given = {key: value for key, value in settings.items() if key != "name"}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := [key for key in given if key not in fields]:
        known = f"it has {', '.join(fields)}" if fields else "it has none"
        raise TrimformerError(f"The pattern {name!r} has no setting {unknown[0]!r}: {known}.")
    required = [key for key, field in fields.items() if field.default is dataclasses.MISSING]
    if missing := [key for key in required if key not in given]:
        raise TrimformerError(f"The pattern {name!r} needs the setting {missing[0]!r}: add it.")
    for key, value in given.items():
        least = fields[key].metadata.get("least")
        if least is not None and (type(value) is not int or value < least):
            raise TrimformerError(
                f"{key!r} of the pattern {name!r} is a whole number of at least {least}, got {value!r}."
            )
    found: Pattern = kind(**{key: _frozen(value) for key, value in given.items()})
    return found


def written(pattern: Pattern) -> dict[str, Any]:
    """What :func:`read` reads."""
    name = next(name for name, kind in PATTERNS.items() if kind is type(pattern))
    fields = {field.name: getattr(pattern, field.name) for field in dataclasses.fields(pattern)}
    return {"name": name} | {key: _plain(value) for key, value in fields.items()}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
