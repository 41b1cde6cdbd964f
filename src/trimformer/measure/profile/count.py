"""What is counted of each component: weights, bytes on disk, operations, and memory at run time."""

from __future__ import annotations

import collections
import dataclasses
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ...encoder import TrimformerModel, TrimformerWithHead
from ...encoder.checkpoints.load import read_checkpoint, resolve
from ...encoder.checkpoints.weight_files import WEIGHTS
from ...encoder.packing.files import packed_bytes
from ...encoder.parts.components import Component, components_of
from .follow import followed

Model = TrimformerModel | TrimformerWithHead
Place = Component | None


@dataclasses.dataclass
class Work:
    """Operations and bytes of activations of each component."""

    flops: dict[Place, float]
    memory: dict[Place, int]


def weights_of(model: Model, stored: Mapping[str, int]) -> tuple[dict[Place, int], dict[Place, int]]:
    """Weights and bytes of each component; a weight that several share counts where it is met first.

    stored: bytes by name, see :func:`stored_bytes`; what is not in it has those that it has in memory.
    """
    components = components_of(model)
    weights: collections.Counter[Place] = collections.Counter()
    sizes: collections.Counter[Place] = collections.Counter()
    names: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), []).append(name)
    for name, weight in model.named_parameters():
        on_disk = next((stored[one] for one in names[id(weight)] if one in stored), weight.nbytes)
        weights[components[name]] += weight.numel()
        sizes[components[name]] += on_disk
    return weights, sizes


def stored_bytes(model: Model, path: str | Path) -> dict[str, int]:
    """The bytes of each weight in the files of a folder or hub id, packed as it is there, by its name in the model."""
    file = resolve(path) / WEIGHTS
    packed = packed_bytes(file) if file.is_file() else {}
    whole = {name: weight.nbytes for name, weight in read_checkpoint(path).weights.items()}
    found = {name: packed.get(name, packed.get(name.removeprefix("encoder."), size)) for name, size in whole.items()}
    if isinstance(model, TrimformerWithHead):
        return found
    return {name.removeprefix("encoder."): size for name, size in found.items()}


def work_of(model: Model, batches: Sequence[Mapping[str, Tensor]]) -> Work:
    """The work of a pass, a mean over batches, and its memory, of the batch that needs most.

    Operations are counted as :func:`trimformer.cost` does. Memory: the most bytes of activations that are there at one
    time while a component is at work, in fp32, with each result written out: scores too, which fused attention does not
    keep. Weights are not in it. Nothing is computed.
    """
    with torch.device("meta"):  # shapes without numbers
        bare: Any = type(model)(model.config)
    bare.eval().requires_grad_(False)
    flops: dict[Place, float] = collections.defaultdict(float)
    memory: dict[Place, int] = {}
    for batch in batches:
        found = _counted(bare, {name: tensor.to("meta") for name, tensor in batch.items()})
        for place, count in found.flops.items():
            flops[place] += count / len(batches)
        memory |= {place: max(memory.get(place, 0), size) for place, size in found.memory.items()}
    return Work(flops, memory)


def _counted(bare: torch.nn.Module, batch: Mapping[str, Tensor]) -> Work:
    work, counter = Work(collections.defaultdict(float), {}), FlopCounterMode(display=False)
    alive = _Alive([*bare.parameters(), *bare.buffers(), *batch.values()])
    current: Place = None
    before = 0

    def told(component: Place) -> None:
        nonlocal current, before
        total = counter.get_total_flops()
        work.flops[current] += total - before
        work.memory[current] = max(work.memory.get(current, 0), alive.take_peak())
        current, before = component, total

    # The unfused attention consists of plain matrix products, which the counter counts one by one.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), alive, counter, followed(bare, told):
        out = bare(**batch)
        told(None)
        del out
    return work


class _Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that operations have written and that are still there, but for those given."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()
        self.given = [tensor.untyped_storage() for tensor in given]
        self.known = {storage._cdata for storage in self.given}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        name = storage._cdata
        if name in self.known:  # a view, or a result in the place of what was there
            return
        self.known.add(name)
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._remove, name, storage.nbytes())

    def _remove(self, name: int, size: int) -> None:
        self.known.discard(name)
        self.bytes -= size

    def take_peak(self) -> int:
        """The most since the last call."""
        peak, self.peak = self.peak, self.bytes
        return peak
