"""Folders with packed weights: marked in config.json when they are saved, unpacked when they are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_NAME, cached_file

from ...files import atomic_file
from ...saved.config import FORMAT_VERSION
from ..packing.files import is_packed, pack_file, read_tensors

WHERE = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
"""What ``from_pretrained`` takes that says where the files are."""


def pack_folder(folder: Path) -> None:
    """Pack the weights of a saved model where that is smaller; then its config.json says so by the format.

    Weights in several files (shards) stay as they are.
    """
    file, config = folder / SAFE_WEIGHTS_NAME, folder / CONFIG_NAME
    if not file.is_file() or not pack_file(file):
        return
    content = json.loads(config.read_text(encoding="utf-8")) | {"format_version": FORMAT_VERSION}
    with atomic_file(config) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def with_unpacked(
    config_class: type[PreTrainedConfig], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of transformers' ``from_pretrained``; packed weights are given to it as they are unpacked.

    Raises TrimformerError for a weight file that is damaged or packed by a newer release.
    """
    source = args[0] if args else kwargs.get("pretrained_model_name_or_path")
    if source is None:
        return args, kwargs
    where = {name: kwargs[name] for name in WHERE if name in kwargs}
    found = cached_file(source, SAFE_WEIGHTS_NAME, _raise_exceptions_for_missing_entries=False, **where)
    if found is None or not is_packed(Path(found)):
        return args, kwargs
    rest = {name: value for name, value in kwargs.items() if name not in (*WHERE, "pretrained_model_name_or_path")}
    if "config" not in rest:
        dtype = {"dtype": rest.pop("dtype")} if "dtype" in rest else {}
        config, others = config_class.from_pretrained(source, return_unused_kwargs=True, **where, **rest)
        rest = {"config": config} | others | dtype
    return (None, *args[1:]), rest | {"state_dict": read_tensors(Path(found))}
