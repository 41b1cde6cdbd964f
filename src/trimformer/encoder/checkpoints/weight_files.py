"""Read the weight files of a checkpoint: safetensors, whole or in shards, never pickled ones."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...errors import TrimformerError
from ...files import require_readable
from ...saved.config import read_json, shortened
from ..packing.files import read_tensors

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DistributedDataParallel, torch.compile and Lightning put before all names."""


def read_weights(folder: Path, body: str) -> dict[str, Tensor]:
    """The weights by their names, without the prefixes of wrappers.

    body: the prefix of the body's weights, which is none of a wrapper. Raises TrimformerError for files that are
    missing, damaged or pickled, and for an adapter.
    """
    if (folder / "adapter_config.json").is_file():
        raise _adapter(folder)
    weights: dict[str, Tensor] = {}
    for name in _files(folder):
        if not (folder / name).is_file():
            raise TrimformerError(f"The weight file {folder / name} named in {INDEX} is missing.")
        require_readable(folder / name)
        weights |= read_tensors(folder / name)
    if any(".lora_" in name or ".base_layer." in name for name in weights):
        raise _adapter(folder)
    return _unwrapped(weights, body)


def _files(folder: Path) -> list[str]:
    if (folder / INDEX).is_file():
        named = read_json(folder / INDEX).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise TrimformerError(f"{folder / INDEX} has no weight_map of weights and files: save the model again.")
        for name in named.values():
            if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                raise TrimformerError(
                    f"{folder / INDEX} names {shortened(name)}, which is no safetensors file in its folder: "
                    "save the model again."
                )
        return sorted(set(named.values()))
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if any(folder.glob("pytorch_model*.bin")):
        raise TrimformerError(
            f"{folder} has only pickled weights (.bin), which are not read because they can run code: "
            f"convert them to {WEIGHTS} first."
        )
    exported = sorted(file.name for ending in (".onnx", ".xml", ".pt2") for file in folder.glob(f"model*{ending}"))
    if exported:
        raise TrimformerError(
            f"{folder} holds exported files alone ({', '.join(exported)}): predict and serve read them, those in lower "
            "precision where --backend names them; for all else name the model that they were made of."
        )
    raise TrimformerError(f"There is no {WEIGHTS} in {folder}: the weight file is missing.")


def _unwrapped(weights: dict[str, Tensor], body: str) -> dict[str, Tensor]:
    while True:
        found = [wrapper for wrapper in WRAPPERS if wrapper != f"{body}." and weights]
        prefix = next((one for one in found if all(name.startswith(one) for name in weights)), None)
        if prefix is None:
            return weights
        weights = {name.removeprefix(prefix): weight for name, weight in weights.items()}


def _adapter(folder: Path) -> TrimformerError:
    return TrimformerError(
        f"{folder} holds an adapter beside its base model, and the base alone is another model: merge it first "
        "(merge_and_unload of peft) and save the result."
    )
