"""Whole numbers of a few bits each, one behind the other in bytes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def bytes_of(count: int, bits: int) -> int:
    """The bytes that so many numbers take: ⌈count · bits / 8⌉."""
    return -(-count * bits // 8)


def to_bytes(numbers: Tensor, bits: int) -> Tensor:
    """Numbers (n,) of at most 8 bits as uint8 (⌈n · bits / 8⌉,): the highest bit first, at the end zeros."""
    single = np.unpackbits(numbers.to(torch.uint8).numpy()[:, None], axis=1)[:, 8 - bits :]
    return torch.from_numpy(np.packbits(single))


def from_bytes(packed: Tensor, count: int, bits: int) -> Tensor:
    """The numbers, uint8 (count,)."""
    single = np.unpackbits(packed.numpy(), count=count * bits).reshape(count, bits)
    return torch.from_numpy(np.packbits(single, axis=1)[:, 0] >> (8 - bits))
