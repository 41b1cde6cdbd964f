"""What a kind of linear map is, and the maps of a layer by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from ...shape.config import LayerShape
from ...shape.kinds import LINEAR
from ..axes import Axes
from ..sizes import Number

Settings = Mapping[str, Any]
DENSE: Settings = {"kind": "dense"}


class LinearMap(ABC):
    """A kind of linear map: (…, inputs) -> (…, outputs). It is never instantiated; ``module`` is what is.

    A module has a ``weight``, the one matrix (outputs, inputs) that the map is, and a ``bias``, or None for it.

    settings: what the shape says of one map, with ``kind``. example: settings of a small one, for the laws.
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    module: ClassVar[type[nn.Module]]
    example: ClassVar[Settings]

    @classmethod
    @abstractmethod
    def check(cls, settings: Settings) -> None:
        """Raise TrimformerError where the settings are not those of such a map."""

    @classmethod
    @abstractmethod
    def make(cls, settings: Settings, inputs: int, outputs: int, bias: bool) -> nn.Module:
        """The map with random weights."""

    @classmethod
    @abstractmethod
    def axes(cls, outputs: str | None, inputs: str | None) -> dict[str, Axes]:
        """The axes of its weights by name, from the names of the outputs' and the inputs' axis."""

    @classmethod
    @abstractmethod
    def params(cls, settings: Settings, inputs: Number, outputs: Number) -> Number:
        """Its weights without the bias, differentiable in soft sizes."""

    @classmethod
    @abstractmethod
    def flops(cls, settings: Settings, inputs: Number, outputs: Number) -> Number:
        """Operations for one row, differentiable in soft sizes."""

    @classmethod
    def last(cls, module: Any) -> nn.Module:
        """The module in it that has the ``weight`` (outputs, …) and the ``bias`` which the outputs come from."""
        found: nn.Module = module
        return found

    @classmethod
    @abstractmethod
    def scaled(cls, module: Any, factor: float) -> nn.Module:
        """A constant copy whose outputs are multiplied by a number, for export."""


def linear(shape: LayerShape, name: str, inputs: int, outputs: int, bias: bool) -> Any:
    """The map of this name in a layer of this shape."""
    settings = settings_of(shape, name)
    return LINEAR[settings["kind"]].make(settings, inputs, outputs, bias)


def settings_of(shape: LayerShape, name: str) -> Settings:
    return shape.maps.get(name, DENSE)


def params(shape: LayerShape, name: str, inputs: Number, outputs: Number) -> Number:
    """Weights of a map of a layer, without its bias."""
    settings = settings_of(shape, name)
    found: Number = LINEAR[settings["kind"]].params(settings, inputs, outputs)
    return found


def flops(shape: LayerShape, name: str, inputs: Number, outputs: Number) -> Number:
    """Operations of a map of a layer for one row."""
    settings = settings_of(shape, name)
    found: Number = LINEAR[settings["kind"]].flops(settings, inputs, outputs)
    return found


def kind_of(module: nn.Module) -> type[LinearMap] | None:
    """The kind of a linear map, None for other modules."""
    return next((kind for kind in LINEAR.values() if isinstance(module, kind.module)), None)


def last_of(module: nn.Module) -> nn.Module:
    """The module in a linear map that its outputs come from; any other module is its own."""
    kind = kind_of(module)
    return module if kind is None else kind.last(module)
