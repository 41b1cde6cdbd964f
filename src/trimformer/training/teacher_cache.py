"""A teacher whose answers to a split lie on disk: it runs once over the rows, however many epochs learn from it."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..console import Ticker
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.parts.trace import AttentionTrace
from ..errors import TrimformerError
from ..files import atomic_folder
from ..tasks.encoding.batches import bucketed_batches
from ..tasks.encoding.encoded import Encoded
from ..tasks.kinds import KINDS
from ..work_files import explain_damage
from .reading import Reading

LARGEST = 16 * 2**30
"""Bytes of one cache: a larger one no longer fits into memory beside the training, and the disk is slow."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """What the terms compare of a model's output, by the index of the state and of the layer."""

    logits: Tensor
    hidden_states: dict[int, Tensor]
    trace: dict[int, AttentionTrace]


def size_of(readings: Sequence[Reading], data: Encoded) -> int:
    """Bytes of a cache without the logits."""
    return 2 * len(data.ids) * sum(math.prod(reading.shape) for reading in readings)


def check_size(readings: Sequence[Reading], data: Encoded) -> int:
    """Bytes of a cache without the logits; raises TrimformerError where it would be too large."""
    size = size_of(readings, data)
    if size > LARGEST:
        raise TrimformerError(
            f"The teacher's cache would need {size / 2**30:.0f} GB for {len(data.ids):,} tokens, more than "
            f"{LARGEST / 2**30:.0f} GB: switch `cache` off, or distil from fewer layers or from logits alone."
        )
    return size


class TeacherCache:
    """Called like the model whose answers it keeps, with rows of the split that it was made for.

    Logits are kept in fp32; hidden states, queries, keys and values in half precision, a row for each real token. The
    folder is named by a hash of the teacher's weights and configuration, its precision, the rows and the readings, and
    has that name only when it is whole: neither another teacher's answers nor half of them are ever read.
    """

    def __init__(
        self,
        model: TrimformerWithHead,
        forward: Callable[..., Any],
        data: Encoded,
        readings: tuple[Reading, ...],
        parent: Path,
        *,
        precision: str,
    ) -> None:
        """model: whose answers are kept. forward: how it is called, on its device and in its precision."""
        self.data, self.readings = data, readings
        self.layers: Any = model.encoder.layers
        folder = parent / f"teacher-{_key(model, data, readings, precision)}"
        if not folder.is_dir():
            self._fill(folder, forward, model.device)
        with explain_damage(folder, "delete this folder, and the teacher answers again"):
            self.logits = np.load(folder / "logits.npy", mmap_mode="r")
            self.arrays = {reading: np.load(folder / f"{reading.file}.npy", mmap_mode="r") for reading in readings}
        self.rows = {_row_key(*_row(data, row)): row for row in range(len(data))}

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **_: bool
    ) -> Answers:
        real = attention_mask.bool()
        rows = self._find(input_ids, attention_mask, token_type_ids)
        tokens = _tokens(self.data, rows)

        def padded(array: np.ndarray) -> Tensor:
            values = torch.from_numpy(array[tokens]).to(real.device).float()
            whole = values.new_zeros(*real.shape, *values.shape[1:])
            whole[real] = values
            return whole

        states: dict[int, Tensor] = {}
        traced: dict[int, dict[str, Any]] = {}
        for reading, array in self.arrays.items():
            if reading.is_state:
                states[reading.index] = padded(array)
            else:
                traced.setdefault(reading.index, {})[reading.name] = padded(array).transpose(1, 2)
        by_token = KINDS[self.data.kind].per_token
        logits = padded(self.logits) if by_token else torch.from_numpy(self.logits[rows]).to(real.device)
        return Answers(logits, states, {index: self._trace(index, values) for index, values in traced.items()})

    def _trace(self, index: int, values: dict[str, Any]) -> AttentionTrace:
        attention = self.layers[index].attention
        whole: dict[str, Any] = {"query": None, "key": None, "value": None} | values  # None: no term compares it
        return AttentionTrace(
            **whole, scale=attention.scale, bias=None, window=attention.window, pattern=attention.pattern
        )

    def _find(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> list[int]:
        """The rows of the split that a batch holds."""
        lengths = mask.sum(1).tolist()
        kinds = [None] * len(ids) if types is None else types.cpu().numpy()
        keys = [
            _row_key(row[:n], None if kind is None else kind[:n])
            for row, kind, n in zip(ids.cpu().numpy(), kinds, lengths, strict=True)
        ]
        if not all(key in self.rows for key in keys):
            raise TrimformerError(
                "The teacher's cache does not hold every text of this batch: switch `cache` off where the data change "
                "from epoch to epoch."
            )
        return [self.rows[key] for key in keys]

    def _fill(self, folder: Path, forward: Callable[..., Any], device: torch.device) -> None:
        """Run the teacher over all rows, in batches of like length."""
        data, by_token = self.data, KINDS[self.data.kind].per_token
        asked = {
            "output_hidden_states": any(reading.is_state for reading in self.readings),
            "output_trace": any(not reading.is_state for reading in self.readings),
        }
        batches = bucketed_batches(data.lengths, 64, seed=0, epoch=0, shuffle=False)
        logits: dict[int, np.ndarray] = {}
        with atomic_folder(folder) as temporary, torch.no_grad(), Ticker("teacher", len(batches)) as tick:
            if check_size(self.readings, data) > shutil.disk_usage(temporary).free:
                raise TrimformerError(f"The disk has no room for the teacher's cache {folder}: free some space.")
            arrays = {
                reading: _reserved(temporary / f"{reading.file}.npy", (len(data.ids), *reading.shape))
                for reading in self.readings
            }
            for rows in batches:
                tick.advance()
                batch = {name: value.to(device) for name, value in data.batch(rows).items() if name != "labels"}
                out = forward(**batch, **asked)
                real, tokens = batch["attention_mask"].bool(), _tokens(data, rows)
                for reading, array in arrays.items():
                    array[tokens] = _half(reading.of(out)[real])
                for row, mask, values in zip(rows, real, out.logits.float(), strict=True):
                    logits[row] = (values[mask] if by_token else values[None]).cpu().numpy()
            for array in arrays.values():
                array.flush()
            np.save(temporary / "logits.npy", np.concatenate([logits[row] for row in range(len(data))]))


def _reserved(file: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new array of half precision on disk, with its room taken: a disk that fills up would end a write into the map
    with SIGBUS, where here it is an OSError."""
    array = np.lib.format.open_memmap(file, "w+", np.float16, shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def _half(values: Tensor) -> np.ndarray:
    half = values.half()
    if not half.isfinite().all():
        raise TrimformerError("The teacher's states are too large for half precision: switch `cache` off.")
    return half.cpu().numpy()


def _row(data: Encoded, row: int) -> tuple[np.ndarray, np.ndarray | None]:
    place = slice(data.offsets[row], data.offsets[row + 1])
    return data.ids[place], None if data.types is None else data.types[place]


def _tokens(data: Encoded, rows: Sequence[int]) -> np.ndarray:
    """The places of the tokens of some rows, one row after the other."""
    return np.concatenate([np.arange(data.offsets[row], data.offsets[row + 1]) for row in rows])


def _row_key(ids: np.ndarray, types: np.ndarray | None) -> bytes:
    text = ids.astype(np.int32).tobytes() + (b"" if types is None else types.astype(np.uint8).tobytes())
    return hashlib.blake2b(text, digest_size=16).digest()


def _key(model: TrimformerWithHead, data: Encoded, readings: tuple[Reading, ...], precision: str) -> str:
    digest = hashlib.sha256(f"{model.config.to_json_string()}{precision}{readings}{data.kind}".encode())
    for name, weight in model.state_dict().items():
        digest.update(f"{name}{weight.dtype}{tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().flatten().view(torch.uint8).numpy())
    for array in (data.ids, data.types, data.offsets):
        digest.update(b"none" if array is None else array.tobytes())
    return digest.hexdigest()[:32]
