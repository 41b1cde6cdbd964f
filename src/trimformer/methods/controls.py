"""Controls without a search: what any learned choice of layers has to beat (Sajjad et al., 2020, for the last k)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from ..encoder.config import StandIn
from ..encoder.gates import Gates
from .base import Method, MethodSettings, check_keep, keep_gates, register


class KeepSettings(MethodSettings):
    """How many layers keep their attention, and what becomes of the others."""

    keep_layers: int = Field(ge=0, description="attention layers that stay")
    replace_by: StandIn = Field("mean", description="what a layer that loses its attention becomes")


class LastKSettings(KeepSettings):
    """Settings of last-k."""

    name: Literal["last-k"] = "last-k"


class RandomKSettings(KeepSettings):
    """Settings of random-k."""

    name: Literal["random-k"] = "random-k"


@register
class LastK(Method):
    """Remove the attention of the last layers."""

    name = "last-k"
    Settings = LastKSettings
    trains = False

    def decide(self) -> Gates:
        check_keep(self.settings.keep_layers, self.layers)
        return keep_gates(self.layers, set(range(self.settings.keep_layers)), self.settings.replace_by)


@register
class RandomK(Method):
    """Remove the attention of layers drawn with the run's seed."""

    name = "random-k"
    Settings = RandomKSettings
    trains = False

    def decide(self) -> Gates:
        check_keep(self.settings.keep_layers, self.layers)
        generator = torch.Generator().manual_seed(self.context.seed)
        order = torch.randperm(self.layers, generator=generator).tolist()
        return keep_gates(self.layers, set(order[: self.settings.keep_layers]), self.settings.replace_by)
