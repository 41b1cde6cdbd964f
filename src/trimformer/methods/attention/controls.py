"""Controls without a search: what any learned choice of layers has to beat (Sajjad et al., 2020, for the last k)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ..base import KeepSettings, Method, register
from ..expected import keep_gates, shape_keeping


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
    Settings: ClassVar[type[KeepSettings]] = LastKSettings
    example = {"keep_layers": 1}  # noqa: RUF012  (never written to)
    trains = False

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        return shape_keeping(super().after(settings, config), settings.keep_layers, settings.replace_by)

    def order(self) -> Sequence[int]:
        """The layers that can lose their attention, those that keep it first."""
        return self.removable

    def decide(self) -> Gates:
        return keep_gates(self.layers, set(self.order()[: self.settings.keep_layers]), self.settings.replace_by)


@register
class RandomK(LastK):
    """Remove the attention of layers drawn with the run's seed."""

    name = "random-k"
    Settings = RandomKSettings

    def order(self) -> Sequence[int]:
        generator = torch.Generator().manual_seed(self.context.seed)
        return [i for i in torch.randperm(self.layers, generator=generator).tolist() if i in self.removable]
