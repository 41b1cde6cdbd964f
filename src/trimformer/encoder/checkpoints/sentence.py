"""Folders of sentence-transformers: an encoder, and modules that make one vector per text of its output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...errors import TrimformerError
from ...saved.config import read_json
from ...saved.modules import MODULES, encoder_folder, kind_of_module, module_folder, read_modules
from ..model.sentence_files import POOLING_KEYS, SETTINGS
from ..shape.embedding import ACTIVATIONS, POOLINGS, DenseShape, EmbeddingShape

WITHOUT_EFFECT = ("Dropout",)
"""Modules that change nothing where nothing is trained."""


def copy_modules(source: Path, target: Path) -> None:
    """Make the folder of a saved body one that ``SentenceTransformer(target)`` loads, where the source is one.

    Copies the modules after the encoder (pooling, normalisation, …) and the settings; they fit, for trimming leaves
    the width of the output as it is. Raises TrimformerError for a broken ``modules.json``.
    """
    if not (source / MODULES).is_file():
        return
    modules = read_modules(source)
    if str(modules[0].get("type", "")).endswith("MLMTransformer"):
        raise TrimformerError(f"{source} uses the language model's head (SPLADE), which a trimmed body does not have.")
    for file in encoder_folder(source).glob("sentence_*_config.json"):
        shutil.copyfile(file, target / file.name)
    if (settings := source / SETTINGS).is_file():
        shutil.copyfile(settings, target / settings.name)
    for module in modules[1:]:
        if (folder := module_folder(source, module)).is_dir():  # a module without settings may have no folder
            shutil.copytree(folder, target / module["path"])
    text = json.dumps([modules[0] | {"path": ""}, *modules[1:]], indent=2)
    (target / MODULES).write_text(text, encoding="utf-8")


def read_embedding(folder: Path, hidden: int) -> tuple[EmbeddingShape, dict[str, Tensor]]:
    """What the modules after the encoder make of its states, hidden wide, and the weights of a head that does the same.

    Raises TrimformerError for a pooling that is missing or not known, and for modules that no head here has.
    """
    modules = read_modules(folder)
    kinds = list(map(kind_of_module, modules[1:]))
    if kinds[:1] != ["Pooling"]:
        found = f"after the encoder comes {kinds[0]}" if kinds else "there is only the encoder"
        raise TrimformerError(f"{folder / MODULES} names no pooling ({found}): add a Pooling module after the encoder.")
    pooling = _pooling(module_folder(folder, modules[1]) / "config.json", hidden)
    dense: list[DenseShape] = []
    weights: dict[str, Tensor] = {}
    normalize = False
    for module, kind in zip(modules[2:], kinds[1:], strict=True):
        if kind in WITHOUT_EFFECT:
            continue
        if normalize or kind not in ("Dense", "Normalize"):
            why = "comes after Normalize" if normalize else "is not known here"
            raise TrimformerError(
                f"{folder / MODULES} names the module {kind}, which {why}: trimformer reads Pooling, then Dense, then "
                "Normalize."
            )
        if kind == "Dense":
            shape, own = _dense(module_folder(folder, module), dense[-1].size if dense else hidden)
            weights |= {f"head.dense.{len(dense)}.linear.{name}": weight for name, weight in own.items()}
            dense.append(shape)
        normalize = kind == "Normalize"
    file = folder / SETTINGS
    settings = read_json(file) if file.is_file() else {}
    dims = read_json(encoder_folder(folder) / "config.json").get("matryoshka_dimensions") or ()
    size = dense[-1].size if dense else hidden
    shorter = tuple(sorted({dim for dim in dims if isinstance(dim, int) and 0 < dim < size}, reverse=True))
    return EmbeddingShape(pooling, tuple(dense), normalize, shorter, settings), weights


def _pooling(file: Path, hidden: int) -> str:
    if not file.is_file():
        raise TrimformerError(f"There is no {file}, which says how the states of the tokens become one vector.")
    values = read_json(file)
    width = values.get("embedding_dimension", values.get("word_embedding_dimension", hidden))
    if width != hidden:
        raise TrimformerError(f"{file} pools states of {width!r} dimensions, and those of the encoder have {hidden}.")
    given = values.get("pooling_mode")
    if given is None:
        given = [name for name, key in POOLING_KEYS.items() if values.get(key)]
    modes = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in values if name.startswith("pooling_mode_") and name not in POOLING_KEYS.values()]
    unknown = [name for name in unknown if values[name]] + [mode for mode in modes if mode not in POOLINGS]
    if unknown or len(modes) != 1:
        found = f"names {', '.join(map(str, unknown or modes))}" if unknown or modes else "names none"
        raise TrimformerError(
            f"The pooling in {file} must be one of {', '.join(POOLINGS)}, and it {found}: correct the file."
        )
    if not values.get("include_prompt", True):
        raise TrimformerError(f"{file} leaves the tokens of a prompt out of the pooling, which trimformer does not do.")
    return str(modes[0])


def _dense(folder: Path, width: int) -> tuple[DenseShape, dict[str, Tensor]]:
    values, file = read_json(folder / "config.json"), folder / "model.safetensors"
    activation = str(values.get("activation_function", "Tanh")).rpartition(".")[2]
    place = values.get("module_input_name", "sentence_embedding")
    other = values.get("module_output_name") or place
    if values.get("use_residual") or {place, other} != {"sentence_embedding"} or activation not in ACTIVATIONS:
        raise TrimformerError(
            f"The dense layer in {folder} must read and write the vector of the text, without a residual, and end with "
            f"one of {', '.join(ACTIVATIONS)} (it ends with {activation})."
        )
    if not file.is_file():
        raise TrimformerError(
            f"There is no {file}; pickled weights (.bin) are not read because they can run code: save the model again "
            "with a newer sentence-transformers."
        )
    try:
        weights = {name.removeprefix("linear."): weight for name, weight in load_file(file).items()}
    except (SafetensorError, OSError) as error:
        raise TrimformerError(f"The weight file {file} cannot be read ({error}): fetch or save it again.") from error
    shape = DenseShape(values.get("out_features", 0), bool(values.get("bias", True)), activation)
    wanted = {"weight": (shape.size, width)} | ({"bias": (shape.size,)} if shape.bias else {})
    if {name: tuple(weight.shape) for name, weight in weights.items()} != wanted:
        raise TrimformerError(f"The weights in {file} do not fit the config.json beside them and the {width} inputs.")
    return shape, weights


def unused_files(folder: Path) -> list[str]:
    """What lies beside an encoder and is no part of a model with a head here: modules, and a head that is pickled."""
    modules = read_modules(folder)[1:] if (folder / MODULES).is_file() else []
    heads = [file.name for file in folder.glob("model_head.*")]  # of SetFit
    return [*map(kind_of_module, modules), *heads]
