"""Folders of sentence-transformers: which modules they name, where the encoder lies, and how texts are read there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import TrimformerError
from .config import read_json

MODULES = "modules.json"


def encoder_folder(folder: Path) -> Path:
    """Where the encoder lies in a folder; older sentence-transformers gave it a folder of its own."""
    inner = module_folder(folder, read_modules(folder)[0]) if (folder / MODULES).is_file() else folder
    return inner if (inner / "config.json").is_file() else folder


def is_sentence_encoder(folder: Path) -> bool:
    """Whether a folder names modules that make a vector of a text."""
    return (folder / MODULES).is_file() and "Pooling" in map(kind_of_module, read_modules(folder))


def read_as_there(tokenizer: Any, folder: Path) -> None:
    """Let the tokenizer of a folder cut texts, and lower their case, as sentence-transformers does."""
    from tokenizers import normalizers

    for file in sorted(folder.glob("sentence_*_config.json")):
        settings = read_json(file)
        length, backend = settings.get("max_seq_length"), getattr(tokenizer, "backend_tokenizer", None)
        if isinstance(length, int) and length > 0:
            tokenizer.model_max_length = min(tokenizer.model_max_length, length)
        if settings.get("do_lower_case") is True and backend is not None:
            others = [] if backend.normalizer is None else [backend.normalizer]
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])


def kind_of_module(module: dict[str, Any]) -> str:
    """The class of a module, wherever a release of sentence-transformers keeps it."""
    return str(module.get("type", "a module")).rpartition(".")[2]


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """The modules that a folder names, the encoder first; raises TrimformerError for a broken ``modules.json``."""
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise TrimformerError(f"{folder / MODULES} is not a readable JSON file: {error}.") from error
    if not isinstance(modules, list) or not modules or not all(isinstance(module, dict) for module in modules):
        raise TrimformerError(f"{folder / MODULES} does not hold a list of modules.")
    return modules


def module_folder(folder: Path, module: dict[str, Any]) -> Path:
    """The folder of a module, which lies inside that of the model; else raises TrimformerError."""
    path = folder / str(module.get("path", ""))
    if not path.resolve().is_relative_to(folder.resolve()) or not isinstance(module.get("path"), str):
        raise TrimformerError(f"{folder / MODULES} names a module outside its folder: {module.get('path')!r}.")
    return path
