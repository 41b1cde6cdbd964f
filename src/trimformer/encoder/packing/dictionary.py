"""A weight of few values: a dictionary of them and an index for each place (GOBO: Zadeh et al., 2020).

What the dictionary has no room for, the outliers, is written as numbers with their positions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .base import PACKINGS, Packed, Packing, Part, Parts, Settings
from .bits import bytes_of, from_bytes, to_bytes

MOST_BITS = 8
SAMPLE = 4096
MOST_POSITIONS = 2**31 - 1


@PACKINGS.add("dictionary")
class Dictionary(Packing):
    """⌈n b / 8⌉ + 4 entries + 8 outliers bytes, with the number of bits b that makes it least."""

    kind = "dictionary"
    about = "the index of each weight in a dictionary, and outliers with their positions"

    @classmethod
    def pack(cls, weight: Tensor) -> Packed | None:
        flat = weight.detach().contiguous().flatten().numpy().view(np.int32)  # -0 and 0 are two values
        count = len(flat)
        sample = flat[:: max(1, count // SAMPLE)]
        # Outliers cost twice as much as plain numbers: where every second place of a sample has a value of its own,
        # nothing is won.
        if count > MOST_POSITIONS or len(np.unique(sample)) > 2**MOST_BITS + len(sample) // 2:
            return None
        values, counts = np.unique(flat, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        held = np.cumsum(counts[order])
        settings = min(
            (
                {"bits": bits, "entries": entries, "outliers": int(count - held[entries - 1])}
                for bits in range(1, MOST_BITS + 1)
                for entries in [min(2**bits, len(values))]
            ),
            key=lambda each: cls.bytes(each, tuple(weight.shape)),
        )
        if cls.bytes(settings, tuple(weight.shape)) >= weight.nbytes:
            return None
        entries = np.sort(values[order[: settings["entries"]]])
        codes = np.searchsorted(entries, flat).clip(max=len(entries) - 1)
        (positions,) = np.nonzero(entries[codes] != flat)
        parts = {
            "codes": to_bytes(torch.from_numpy(codes), settings["bits"]),
            "entries": torch.from_numpy(entries.view(np.float32)),
            "outliers": torch.from_numpy(flat[positions].view(np.float32)),
            "positions": torch.from_numpy(positions.astype(np.int32)),
        }
        return Packed(cls.kind, settings, tuple(weight.shape), parts)

    @classmethod
    def layout(cls, settings: Settings, shape: tuple[int, ...]) -> dict[str, Part]:
        bits, entries, outliers = settings["bits"], settings["entries"], settings["outliers"]
        if not 1 <= bits <= MOST_BITS or not 1 <= entries <= 2**bits or outliers < 0:
            raise ValueError(f"no dictionary has {entries} entries for {bits} bits")
        return {
            "codes": Part(torch.uint8, (bytes_of(math.prod(shape), bits),)),
            "entries": Part(torch.float32, (entries,)),
            "outliers": Part(torch.float32, (outliers,)),
            "positions": Part(torch.int32, (outliers,)),
        }

    @classmethod
    def unpack(cls, parts: Parts, settings: Settings, shape: tuple[int, ...]) -> Tensor:
        count, positions = math.prod(shape), parts["positions"].long()
        if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < count:
            raise ValueError("an outlier lies outside the weight")
        codes = from_bytes(parts["codes"], count, settings["bits"]).int()
        found = parts["entries"][codes]
        found[positions] = parts["outliers"]
        return found.view(shape)

    @classmethod
    def example(cls, weight: Tensor) -> Tensor:
        few = weight.sign() / 2
        few.view(-1)[0] = 0.75
        return few
