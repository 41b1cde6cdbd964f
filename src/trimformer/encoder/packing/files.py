"""Weight files with packed weights: written, read and checked.

A packed weight NAME stands in the safetensors file as tensors NAME.PART. The metadata of the file say under ``packing``
which weights are packed and how, and in which version of this format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import TrimformerError
from ...files import atomic_file
from .base import PACKINGS, packed

KEY = "packing"
VERSION = 1
LEAST_SAVED = 0.05
"""Of the bytes of a file: for less it stays as all other programs read it."""
MOST_WEIGHTS = 2**31 - 1
"""A weight of more numbers would not fit the memory that it is unpacked in."""


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The weights in a safetensors file, packed ones unpacked.

    Raises TrimformerError for a file that is truncated, of another kind or packed by a newer release, and where what it
    says of its packed weights is not what stands in it.
    """
    tensors, metadata = _read(file)
    return tensors if KEY not in metadata else dict(_unpacked(tensors, metadata[KEY], file))


def is_packed(file: Path) -> bool:
    """Whether a safetensors file has packed weights; raises TrimformerError where it cannot be read."""
    return KEY in _read(file, ())[1]


def packed_bytes(file: Path) -> dict[str, int]:
    """The bytes of each packed weight in a safetensors file; raises TrimformerError as :func:`read_tensors` does."""
    tensors, metadata = _read(file)
    packed = dict(_unpacked(tensors, metadata[KEY], file)).keys() - tensors.keys() if KEY in metadata else set()
    return {name: _bytes(part for own, part in tensors.items() if own.startswith(f"{name}.")) for name in packed}


def pack_file(file: Path) -> bool:
    """Write a safetensors file anew with the weights packed that have a smaller form; False: that saves too little."""
    tensors, _ = _read(file)
    found = {name: each for name, weight in tensors.items() if (each := packed(weight)) is not None}
    before = _bytes(tensors.values())
    saved = sum(tensors[name].nbytes - _bytes(each.parts.values()) for name, each in found.items())
    if saved < LEAST_SAVED * before:
        return False
    for name, each in found.items():
        del tensors[name]
        tensors |= {f"{name}.{part}": tensor.contiguous() for part, tensor in each.parts.items()}
    said = {name: {"kind": each.kind, "shape": each.shape, **each.settings} for name, each in found.items()}
    # One entry alone: safetensors writes several in any order, and the same weights are to give the same file.
    metadata = {KEY: json.dumps({"version": VERSION, "weights": said})}
    with atomic_file(file) as temporary:
        save_file(tensors, temporary, metadata=metadata)
    return True


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _read(file: Path, names: Iterable[str] | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of these names, None: all, as they stand in a file, and its metadata."""
    try:
        with safe_open(file, "pt") as opened:
            wanted = opened.keys() if names is None else names
            return {name: opened.get_tensor(name) for name in wanted}, opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise TrimformerError(
            f"The weight file {file} cannot be read, it is truncated or not a safetensors file "
            f"({error}): fetch or save it again."
        ) from error


def _unpacked(tensors: dict[str, Tensor], given: str, file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        content = json.loads(given)
        version = int(content["version"])
        weights = {} if version > VERSION else dict(content["weights"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise _damaged(file, f"what it says of its packed weights cannot be read ({error})") from error
    if version > VERSION:
        raise TrimformerError(
            f"The weights in {file} are packed in format {version}, newer than the format {VERSION} that this "
            "trimformer reads: upgrade trimformer."
        )
    left = dict(tensors)
    for name, said in weights.items():
        yield name, _unpack(name, said, left, file)
    yield from left.items()


def _unpack(name: str, said: Mapping[str, Any], left: dict[str, Tensor], file: Path) -> Tensor:
    """A weight; its parts are taken from those that are left."""
    kind = str(said.get("kind")) if isinstance(said, dict) else ""
    if kind not in PACKINGS:
        raise TrimformerError(
            f"The weight {name} in {file} is packed as {kind!r}, and this trimformer knows {', '.join(PACKINGS)}: "
            "upgrade trimformer, or install the package that has this packing."
        )
    packing = PACKINGS[kind]
    try:
        shape = tuple(map(int, said["shape"]))
        settings = {setting: int(value) for setting, value in said.items() if setting not in ("kind", "shape")}
        if min(shape) < 1 or torch.Size(shape).numel() > MOST_WEIGHTS:
            raise ValueError(f"the shape is {shape}")
        parts = {}
        for part, wanted in packing.layout(settings, shape).items():
            tensor = parts[part] = left.pop(f"{name}.{part}")
            if (tensor.dtype, tuple(tensor.shape)) != wanted:
                raise ValueError(f"its {part} have the shape {tuple(tensor.shape)} instead of {wanted.shape}")
        return packing.unpack(parts, settings, shape)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RuntimeError, MemoryError) as error:
        raise _damaged(file, f"the packed weight {name} is not whole ({error})") from error


def _damaged(file: Path, what: str) -> TrimformerError:
    return TrimformerError(f"The weight file {file} is damaged: {what}; fetch or save it again.")
