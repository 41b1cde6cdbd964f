"""Dimensions that are drawn: the control of a search of dimensions (Li and Talwalkar, 2019)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import Method, MethodSettings, register
from ..expected import shape_after
from ..handed import named_gates
from ..result import Result
from .spaces import Space, check_space, gates_of, sizes_of, whole

Kept = Annotated[float, Field(gt=0, le=1)] | list[NonNegativeInt]


class RandomDimensionsSettings(MethodSettings):
    """Settings of random-dimensions."""

    name: Literal["random-dimensions"] = "random-dimensions"
    stay: dict[Space, Kept] = Field(
        min_length=1,
        description="for each space the share of its dimensions that stays in every layer, at least one, or how many "
        "of each layer",
    )

    @property
    def label(self) -> str:
        return f"{self.name}, {' and '.join(self.stay)}"


@register
class RandomDimensions(Method):
    """Remove dimensions drawn with the run's seed: as many as a search has found."""

    name = "random-dimensions"
    Settings = RandomDimensionsSettings
    example = {"stay": {"inputs": 0.5, "ffn": 0.5}}  # noqa: RUF012  (never written to)
    trains = False

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        for space in settings.stay:
            check_space(space, config, "stay")
            counts(settings, space, config)

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        return shape_after(super().after(settings, config), drawn(settings, config, seed=0))

    @classmethod
    def hands_gates(cls, settings: Any, config: TrimformerConfig) -> Gates:
        return whole(list(settings.stay), config)

    def decide(self) -> Gates:
        return drawn(self.settings, self.context.model.config, self.context.seed)

    def result(self) -> Result:
        return dataclasses.replace(super().result(), handed=named_gates(self.decide()))

    def notes(self) -> list[str]:
        config, found = self.context.model.config, []
        for space in self.settings.stay:
            kept = ", ".join(f"{count} of {size}" for count, size in counts(self.settings, space, config))
            found.append(f"{space} that stay in the layers, drawn at random, first layer first: {kept}.")
        return found


def counts(settings: Any, space: Space, config: TrimformerConfig) -> list[tuple[int, int]]:
    """How many dimensions stay of how many in each layer.

    Raises TrimformerError where they are not those of this encoder.
    """
    kept, sizes = settings.stay[space], sizes_of(space, config)
    if isinstance(kept, float):
        return [(max(min(1, size), round(kept * size)), size) for size in sizes]
    if len(kept) != len(sizes) or any(count > size for count, size in zip(kept, sizes, strict=True)):
        raise TrimformerError(
            f"stay: the layers have {', '.join(map(str, sizes))} {space}, of which {', '.join(map(str, kept))} cannot "
            "stay: give a number for each layer, or one share for all."
        )
    return list(zip(kept, sizes, strict=True))


def drawn(settings: Any, config: TrimformerConfig, seed: int) -> Gates:
    """Hard gates of as many dimensions as stay; the same in all heads of a layer."""
    generator = torch.Generator().manual_seed(seed)

    def mask(count: int, size: int) -> Tensor:
        return torch.zeros(size).index_fill(0, torch.randperm(size, generator=generator)[:count], 1.0)

    masks = {space: [mask(*own) for own in counts(settings, space, config)] for space in settings.stay}
    return gates_of(masks, config)
