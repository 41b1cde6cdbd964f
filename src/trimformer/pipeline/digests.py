"""What a run was started with: it can go on with the same recipe, rows, labels, tokenizer and weights only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.gates import Gates
from ..errors import TrimformerError
from ..recipe.settings import Recipe, StageSettings, differences
from ..starts import STARTS, Origin
from ..tasks.augmentation import AUGMENTATIONS
from ..tasks.encoding.cache import fingerprint
from ..tasks.encoding.encoded import Encoded
from .inputs import Inputs

FILE = "started_with.json"
ELSEWHERE = ("id2label", "label2id", "transformers_version", "_name_or_path")
"""Entries of a configuration that compute nothing: the labels have a digest of their own."""


class StartedWith(BaseModel, extra="forbid"):
    """recipe: as resolved, kept apart from ``recipe.yaml``, which anybody may edit. inputs: of :func:`digests`."""

    recipe: Recipe
    inputs: dict[str, str]

    def save(self, work: Path) -> None:
        (work / FILE).write_text(json.dumps(self.model_dump(mode="json")), encoding="utf-8")


def read_start(work: Path) -> StartedWith:
    """What the run in this folder was started with; raises TrimformerError where the file is missing or damaged."""
    try:
        return StartedWith.model_validate_json((work / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise TrimformerError(
            f"{work.parent} holds no run that can be resumed: choose another output folder, or delete this one."
        ) from error


def digests(
    inputs: Inputs, baseline: TrimformerWithHead | None, stages: Sequence[StageSettings] = ()
) -> dict[str, str]:
    """A digest of everything that a run starts from, learns from and is scored on, by what a user calls it."""
    checkpoint, task = inputs.checkpoint, inputs.task
    found = {
        "the checkpoint's configuration": _of(_config(checkpoint.config), inputs.has_trained_head),
        "the checkpoint's weights": _of(*_weights(checkpoint.weights)),
        "the tokenizer": _of(*_tokenizer(inputs.tokenizer)),
        "the labels": _of(task.kind, task.labels, task.metrics, *(["pseudo"] if task.pseudo_labels else [])),
        "the training rows": _of(*_rows(inputs.train, task.pseudo_labels)),
        "the selection rows": _of(*_rows(inputs.selection, task.pseudo_labels)),
        "the validation rows": _of(*_rows(inputs.validation, task.pseudo_labels and not task.labelled_validation)),
    }
    if inputs.unlabelled is not None:
        found["the texts without labels"] = _of(inputs.unlabelled.texts, inputs.unlabelled.pairs)
    if baseline is not None:
        found["the baseline"] = _of(_config(baseline.config), *_weights(baseline.state_dict()))
    previous = Origin(checkpoint.config, found=Gates())  # what a search will find is nothing that a run starts from
    for stage in stages:
        start = STARTS[stage.start.name](stage.start, inputs.origins(previous=previous))
        weights, tokenizer = start.weights(), start.tokenizer()
        if weights:
            own = [] if tokenizer is None else _tokenizer(tokenizer)
            found[f"the start of the stage {stage.name}"] = _of(_config(start.config), *_weights(weights), *own)
        if stage.augment is not None:
            files = AUGMENTATIONS[stage.augment.name].files(stage.augment)
            found |= {f"the {name} of the stage {stage.name}": digest for name, digest in files.items()}
    return found


def changed(before: StartedWith, after: StartedWith) -> list[str]:
    """What differs, in words; where the results go may be written in another way."""
    keys = differences(before.recipe, after.recipe.model_copy(update={"out": before.recipe.out}))
    settings = [f"{key} in the recipe (at first {json.dumps(keys[key], ensure_ascii=False)})" for key in keys]
    names = {**before.inputs, **after.inputs}
    return settings + [name for name in names if before.inputs.get(name) != after.inputs.get(name)]


def _config(config: TrimformerConfig) -> dict[str, Any]:
    return {name: value for name, value in config.to_dict().items() if name not in ELSEWHERE}


def _weights(weights: Mapping[str, Tensor]) -> Iterator[Any]:
    for name, weight in sorted(weights.items()):
        yield name, weight.dtype, weight.shape
        yield weight.detach().cpu().flatten().view(torch.uint8).numpy()


def _tokenizer(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    named = tokenizer.special_tokens_map, tokenizer.model_input_names, tokenizer.truncation_side
    return [fingerprint(tokenizer), *named]


def _rows(data: Encoded, pseudo_labels: bool) -> list[Any]:
    """As encoded; and the labels as they were given, for those of words that were cut are in no row; and groups.

    A model's own answers follow from its weights, and another machine may round them otherwise.
    """
    labels, given = (None, None) if pseudo_labels else (data.labels, data.examples.labels)
    arrays = data.ids, data.types, data.offsets, labels, data.words, data.owners, data.chars
    return [*arrays, given, *(data.examples.groups or [])]


def _of(*parts: Any) -> str:
    """The digest of arrays and plain values."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"{part!r}\n".encode())
    return digest.hexdigest()
