"""A weight with many zeros: a bit for each place, and the numbers that are none."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import PACKINGS, Packed, Packing, Part, Parts, Settings
from .bits import bytes_of, from_bytes, to_bytes


@PACKINGS.add("sparse")
class Sparse(Packing):
    """⌈n / 8⌉ + 4 kept bytes. The sign of a zero is not kept."""

    kind = "sparse"
    about = "a bit mask of the weights that are not 0, and these"

    @classmethod
    def pack(cls, weight: Tensor) -> Packed | None:
        flat = weight.detach().contiguous().flatten()
        there = flat != 0
        settings = {"kept": int(there.sum())}
        if cls.bytes(settings, tuple(weight.shape)) >= weight.nbytes:
            return None
        parts = {"mask": to_bytes(there, 1), "values": flat[there]}
        return Packed(cls.kind, settings, tuple(weight.shape), parts)

    @classmethod
    def layout(cls, settings: Settings, shape: tuple[int, ...]) -> dict[str, Part]:
        kept, count = settings["kept"], math.prod(shape)
        if not 0 <= kept <= count:
            raise ValueError(f"{kept} of {count} weights cannot be kept")
        return {"mask": Part(torch.uint8, (bytes_of(count, 1),)), "values": Part(torch.float32, (kept,))}

    @classmethod
    def unpack(cls, parts: Parts, settings: Settings, shape: tuple[int, ...]) -> Tensor:
        there = from_bytes(parts["mask"], math.prod(shape), 1).bool()
        if int(there.sum()) != settings["kept"]:
            raise ValueError("the bit mask does not count as many weights as there are")
        found = torch.zeros(math.prod(shape))
        found[there] = parts["values"]
        return found.view(shape)

    @classmethod
    def example(cls, weight: Tensor) -> Tensor:
        return weight.where(weight.abs() > weight.abs().median(), 0.0)
