"""What a method hands on beside its model, as tensors by name: the gates that it cut by, and where another goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ..encoder.shape.gates import Gates
from ..files import atomic_file
from ..work_files import explain_damage

FILE = "handed.safetensors"
GATES = "gates"


def named_gates(gates: Gates) -> dict[str, Tensor]:
    """Gates of the parts of layers, a tensor for each point and layer."""
    return {f"{GATES}.{point}.{index}": own for point, given in gates.given.items() for index, own in enumerate(given)}


def gates_in(tensors: Mapping[str, Tensor]) -> Gates:
    """The gates that :func:`named_gates` has named; none where there are none."""
    given: dict[str, Any] = {}
    for name in sorted((name for name in tensors if name.startswith(f"{GATES}.")), key=_layer):
        given.setdefault(name.split(".")[1], []).append(tensors[name])
    return Gates(**given)


def write_handed(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Keep them in the folder of a stage."""
    with atomic_file(folder / FILE) as file:
        save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, file)


def read_handed(folder: Path) -> dict[str, Tensor]:
    """What a stage handed on; nothing where it left no such file."""
    file = folder / FILE
    if not file.is_file():
        return {}
    with explain_damage(file, f"delete the folder {folder}, and the stage is done again"):
        return load_file(file)


def _layer(name: str) -> int:
    return int(name.rpartition(".")[2])
