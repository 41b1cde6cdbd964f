"""A weight of which parts of the rows repeat: a codebook for each part, and an index for each row and part.

Product quantization: Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", 2011.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .base import PACKINGS, Packed, Packing, Part, Parts, Settings
from .bits import bytes_of, from_bytes, to_bytes

WIDTHS = (2, 4, 8, 16)
"""Columns of a part."""
MOST_BITS = 8


@PACKINGS.add("codebooks")
class Codebooks(Packing):
    """⌈rows parts b / 8⌉ + 4 columns entries bytes, where a part has ``width`` columns and its codebook ``entries``."""

    kind = "codebooks"
    about = "for each part of a row the index of an entry in the codebook of the part"

    @classmethod
    def pack(cls, weight: Tensor) -> Packed | None:
        if weight.ndim != 2:
            return None
        found = [each for width in WIDTHS if (each := cls._with_width(weight, width)) is not None]
        return min(found, key=lambda each: each.bytes, default=None)

    @classmethod
    def _with_width(cls, weight: Tensor, width: int) -> Packed | None:
        shape = tuple(weight.shape)
        rows, columns = shape
        if columns % width:
            return None
        flat = weight.detach().contiguous().numpy().view(np.int32)  # -0 and 0 are two values
        codebooks, codes = [], []
        for part in np.split(flat, columns // width, axis=1):
            values, indices = np.unique(part, axis=0, return_inverse=True)
            settings = {"width": width, "entries": len(values), "bits": max(1, (len(values) - 1).bit_length())}
            if len(values) > 2**MOST_BITS or cls.bytes(settings, shape) >= weight.nbytes:
                return None
            codebooks.append(values)
            codes.append(indices.reshape(rows))
        entries = max(map(len, codebooks))
        settings = {"width": width, "entries": entries, "bits": max(1, (entries - 1).bit_length())}
        filled = np.stack([np.pad(values, ((0, entries - len(values)), (0, 0))) for values in codebooks])
        parts = {
            "codes": to_bytes(torch.from_numpy(np.stack(codes, 1).reshape(-1)), settings["bits"]),
            "codebooks": torch.from_numpy(filled.view(np.float32)),
        }
        return Packed(cls.kind, settings, shape, parts)

    @classmethod
    def layout(cls, settings: Settings, shape: tuple[int, ...]) -> dict[str, Part]:
        width, entries, bits = settings["width"], settings["entries"], settings["bits"]
        rows, columns = shape
        if width < 1 or columns % width or not 1 <= bits <= MOST_BITS or not 1 <= entries <= 2**bits:
            raise ValueError(f"no codebooks for {columns} columns have {entries} entries of {width} in {bits} bits")
        parts = columns // width
        return {
            "codes": Part(torch.uint8, (bytes_of(rows * parts, bits),)),
            "codebooks": Part(torch.float32, (parts, entries, width)),
        }

    @classmethod
    def unpack(cls, parts: Parts, settings: Settings, shape: tuple[int, ...]) -> Tensor:
        rows, columns = shape
        count = columns // settings["width"]
        codes = from_bytes(parts["codes"], rows * count, settings["bits"]).long().view(rows, count)
        return parts["codebooks"][torch.arange(count), codes].reshape(shape)

    @classmethod
    def example(cls, weight: Tensor) -> Tensor:
        return weight[torch.arange(len(weight)) % 2]
