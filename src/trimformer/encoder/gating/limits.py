"""What an architecture cannot lose, in one place: methods, the search and tests ask here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...errors import TrimformerError
from ..shape.config import TrimformerConfig
from ..shape.kinds import LAYERS, POSITIONS
from ..shape.points import POINTS


@dataclasses.dataclass(frozen=True)
class Limits:
    """keeps: the gate points at which nothing can be removed, and why. first_stays: why the first layer cannot be
    removed, None where it can. alike: whether layers share their weights, so that they can only lose the same."""

    keeps: Mapping[str, str]
    first_stays: str | None
    alike: bool

    def can_lose(self, point: str) -> bool:
        """Whether something can be removed at a gate point, of each layer by itself."""
        return point not in self.keeps and not (self.alike and POINTS[point].in_layers)

    def require(self, point: str, remedy: str) -> None:
        """Raise TrimformerError, which ends with a remedy, where nothing can be removed at a gate point."""
        if point in self.keeps:
            raise TrimformerError(f"This encoder cannot lose {_named(point)}, because {self.keeps[point]}: {remedy}.")
        if not self.can_lose(point):
            raise TrimformerError(
                f"This encoder cannot lose {_named(point)} in single layers, because its layers share their weights: "
                f"{remedy}."
            )


def _named(point: str) -> str:
    return POINTS[point].of.removeprefix("the ")


def limits(config: TrimformerConfig) -> Limits:
    """What an encoder of this configuration cannot lose."""
    positions, layers = POSITIONS[config.attention_positions], LAYERS[config.layer_kind]
    return Limits(dict(positions.keeps) | dict(layers.keeps), layers.first_stays, config.sharing is not None)
