"""Folders of sentence-transformers: an encoder, and modules that make one vector per text of its output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ...errors import TrimformerError

MODULES = "modules.json"


def encoder_folder(folder: Path) -> Path:
    """Where the encoder lies in a folder; older sentence-transformers gave it a folder of its own."""
    inner = _path(folder, _modules(folder)[0]) if (folder / MODULES).is_file() else folder
    return inner if (inner / "config.json").is_file() else folder


def copy_modules(source: Path, target: Path) -> None:
    """Make the folder of a saved body one that ``SentenceTransformer(target)`` loads, where the source is one.

    Copies the modules after the encoder (pooling, normalisation, …) and the settings; they fit, for trimming leaves
    the width of the output as it is. Raises TrimformerError for a broken ``modules.json``.
    """
    if not (source / MODULES).is_file():
        return
    modules = _modules(source)
    if str(modules[0].get("type", "")).endswith("MLMTransformer"):
        raise TrimformerError(f"{source} uses the language model's head (SPLADE), which a trimmed body does not have.")
    for file in encoder_folder(source).glob("sentence_*_config.json"):
        shutil.copyfile(file, target / file.name)
    if (settings := source / "config_sentence_transformers.json").is_file():
        shutil.copyfile(settings, target / settings.name)
    for module in modules[1:]:
        if (folder := _path(source, module)).is_dir():  # a module without settings may have no folder
            shutil.copytree(folder, target / module["path"])
    text = json.dumps([modules[0] | {"path": ""}, *modules[1:]], indent=2)
    (target / MODULES).write_text(text, encoding="utf-8")


def unused_files(folder: Path) -> list[str]:
    """What lies beside an encoder and is no part of a model with a head here: modules, and a head that is pickled."""
    modules = _modules(folder)[1:] if (folder / MODULES).is_file() else []
    heads = [file.name for file in folder.glob("model_head.*")]  # of SetFit
    return [str(module.get("type", "a module")).rpartition(".")[2] for module in modules] + heads


def _modules(folder: Path) -> list[dict[str, Any]]:
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise TrimformerError(f"{folder / MODULES} is not a readable JSON file: {error}.") from error
    if not isinstance(modules, list) or not modules or not all(isinstance(module, dict) for module in modules):
        raise TrimformerError(f"{folder / MODULES} does not hold a list of modules.")
    return modules


def _path(folder: Path, module: dict[str, Any]) -> Path:
    path = folder / str(module.get("path", ""))
    if not path.resolve().is_relative_to(folder.resolve()) or not isinstance(module.get("path"), str):
        raise TrimformerError(f"{folder / MODULES} names a module outside its folder: {module.get('path')!r}.")
    return path
