"""What a packing is, and which one a weight is written in.

A packing belongs to the file alone. The shape of an encoder, its weights in memory and what methods do with them know
nothing of it: whatever has made weights that a packing can hold exactly (zeros, a few values, multiples of a scale),
they are written in it, and whatever fills them again has them written as plain numbers.

To add one, write a file here (or in a module that your package names in the entry point group ``trimformer.packings``):
``pack`` finds out whether a weight can be held, ``layout`` says which tensors are written then, ``unpack`` reads them.
The laws of ``tests/laws/test_packed_equals_unpacked.py`` try it with what its ``example`` makes of weights.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ...registry import Registry

Settings = Mapping[str, int]
Parts = Mapping[str, Tensor]


class Part(NamedTuple):
    """Type and shape of a tensor that is written."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Packed(NamedTuple):
    """A weight in the form in which it is written: tensors by name, and the whole numbers that say how to read them."""

    kind: str
    settings: Settings
    shape: tuple[int, ...]
    parts: Parts

    @property
    def bytes(self) -> int:
        return sum(part.nbytes for part in self.parts.values())


class Packing(ABC):
    """A way to write an fp32 weight in fewer bytes that gives it back exactly. It is never instantiated."""

    kind: ClassVar[str]
    about: ClassVar[str]

    @classmethod
    @abstractmethod
    def pack(cls, weight: Tensor) -> Packed | None:
        """A weight of two dimensions or more; None where it cannot be held, or only in as many bytes as it has."""

    @classmethod
    @abstractmethod
    def layout(cls, settings: Settings, shape: tuple[int, ...]) -> dict[str, Part]:
        """The tensors that are written: the formula of the size. KeyError or ValueError for settings of another one."""

    @classmethod
    @abstractmethod
    def unpack(cls, parts: Parts, settings: Settings, shape: tuple[int, ...]) -> Tensor:
        """The weight, from parts that have the layout; ValueError or IndexError where what stands in them cannot be."""

    @classmethod
    @abstractmethod
    def example(cls, weight: Tensor) -> Tensor:
        """A weight of the same shape that it can hold, made of another one, for the laws."""

    @classmethod
    def bytes(cls, settings: Settings, shape: tuple[int, ...]) -> int:
        return sum(part.bytes for part in cls.layout(settings, shape).values())


PACKINGS: Registry[type[Packing]] = Registry("packing", "trimformer.encoder.packing", "trimformer.packings")


def packed(weight: Tensor) -> Packed | None:
    """A weight in the packing that needs the fewest bytes; None where plain numbers are the smallest form of it.

    What is packed was unpacked again, and was the same weight.
    """
    if weight.dtype != torch.float32 or weight.ndim < 2 or not weight.numel() or not weight.isfinite().all():
        return None
    found = [each for packing in PACKINGS.values() if (each := packing.pack(weight)) is not None]
    found = [each for each in found if each.bytes < weight.nbytes and torch.equal(unpacked(each), weight)]
    return min(found, key=lambda each: each.bytes, default=None)


def unpacked(given: Packed) -> Tensor:
    """The weight, fp32."""
    return PACKINGS[given.kind].unpack(given.parts, given.settings, given.shape)
