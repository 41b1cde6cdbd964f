"""A weight of small whole numbers times a scale, one for each group of 64 in a row.

The scales are bfloat16: with a whole number of at most 8 bits the product is exact in fp32, so that scale and numbers
can be read off the weight again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .base import PACKINGS, Packed, Packing, Part, Parts, Settings
from .bits import bytes_of, from_bytes, to_bytes

GROUP = 64
FEWEST_BITS, MOST_BITS = 2, 8
SAMPLE = 16


def largest(bits: int) -> int:
    """The largest whole number: 127 for 8 bits, 7 for 4."""
    return int(2 ** (bits - 1)) - 1


def rounded(weight: Tensor, bits: int) -> Tensor:
    """A weight (…, columns) as whole numbers of so many bits times the scales of its groups.

    Symmetric: the scale of a group is its largest absolute value over the largest whole number, in bfloat16.
    """
    rows = weight.detach().float().reshape(-1, weight.shape[-1])
    scales = _scales(rows, bits).bfloat16().float()
    return _product(_numbers(rows, scales, bits), scales).view(weight.shape).to(weight.dtype)


@PACKINGS.add("groups")
class Groups(Packing):
    """⌈n b / 8⌉ + 2 rows ⌈columns / 64⌉ bytes for b bits."""

    kind = "groups"
    about = "small whole numbers, and a scale for each group of 64 in a row"

    @classmethod
    def pack(cls, weight: Tensor) -> Packed | None:
        rows = weight.detach().reshape(-1, weight.shape[-1])
        for bits in range(FEWEST_BITS, MOST_BITS + 1):
            if _read(rows[:SAMPLE], bits) is None or (found := _read(rows, bits)) is None:
                continue
            numbers, scales = found
            codes = (numbers + largest(bits)).flatten()
            parts = {"codes": to_bytes(codes, bits), "scales": scales.bfloat16()}
            return Packed(cls.kind, {"bits": bits}, tuple(weight.shape), parts)
        return None

    @classmethod
    def layout(cls, settings: Settings, shape: tuple[int, ...]) -> dict[str, Part]:
        bits = settings["bits"]
        if not FEWEST_BITS <= bits <= MOST_BITS:
            raise ValueError(f"no whole numbers have {bits} bits")
        groups = (math.prod(shape[:-1]), -(-shape[-1] // GROUP))
        return {"codes": Part(torch.uint8, (bytes_of(math.prod(shape), bits),)), "scales": Part(torch.bfloat16, groups)}

    @classmethod
    def unpack(cls, parts: Parts, settings: Settings, shape: tuple[int, ...]) -> Tensor:
        bits = settings["bits"]
        codes = from_bytes(parts["codes"], math.prod(shape), bits).view(-1, shape[-1])
        return _product(codes.short() - largest(bits), parts["scales"].float()).view(shape)

    @classmethod
    def example(cls, weight: Tensor) -> Tensor:
        return rounded(weight, 4)


def _scales(rows: Tensor, bits: int) -> Tensor:
    """(rows, groups): the scale at which the largest absolute value of a group is the largest whole number."""
    filled = functional.pad(rows, (0, -rows.shape[1] % GROUP))
    return filled.view(len(rows), -1, GROUP).abs().amax(2) / largest(bits)


def _numbers(rows: Tensor, scales: Tensor, bits: int) -> Tensor:
    steps = _spread(scales, rows.shape[1])
    top = largest(bits)
    return (rows / steps.where(steps > 0, 1.0)).round().clamp(-top, top).short()


def _product(numbers: Tensor, scales: Tensor) -> Tensor:
    return numbers.float() * _spread(scales, numbers.shape[1])


def _spread(scales: Tensor, columns: int) -> Tensor:
    """The scale of each column."""
    return scales.repeat_interleave(GROUP, 1)[:, :columns]


def _read(rows: Tensor, bits: int) -> tuple[Tensor, Tensor] | None:
    """The whole numbers and scales that rows are the product of; None where they are not."""
    scales = _scales(rows, bits)
    if not torch.equal(scales.bfloat16().float(), scales):
        return None
    numbers = _numbers(rows, scales, bits)
    return (numbers, scales) if torch.equal(_product(numbers, scales), rows) else None
