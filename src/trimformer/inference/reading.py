"""What a predictor has to know of a folder beside the weights: configuration, kind of task, tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..extras import explained
from ..saved.config import SavedConfig, architecture, read_own
from ..saved.folder import fetch, resolve
from ..saved.kinds import Kind, head_of, kind_of_head
from ..saved.modules import is_sentence_encoder
from ..saved.tokenizer import TOKENIZER, read_tokenizer
from ..tasks.encoding.tokenizers import AnyTokenizer


class Reading(NamedTuple):
    """config: a ``SavedConfig``, or the ``TrimformerConfig`` that transformers makes, which has the same and more."""

    config: Any
    kind: Kind
    tokenizer: AnyTokenizer


def read_folder(path_or_id: str | Path, with_pytorch: bool = False, files: Sequence[str] = ()) -> Reading:
    """A folder that trimformer saved is read without transformers, all others with it.

    with_pytorch: read by transformers whatever the folder is, because its weights are too. files: back-ends for which
    it has a file, to name where PyTorch is missing.
    Raises TrimformerError for a folder that cannot be read, and where transformers is needed and missing.
    """
    folder = resolve(path_or_id)
    config = read_own(folder)
    if with_pytorch:
        why = "The back-end torch, which answers where no exported file (model.onnx, model.xml) is found,"
        if files:
            why = f"The folder has a file for the back-end {files[0]} (--backend {files[0]}), and the back-end torch"
    elif config is None:
        why = f"trimformer did not write the config.json in {folder} (`trimformer export` does), and reading it"
    elif not (folder / TOKENIZER).is_file():
        why = f"There is no {TOKENIZER} in {folder}, and a tokenizer of another form"
    else:
        return Reading(config, _kind(path_or_id, folder, config), read_tokenizer(folder, config))
    with explained(why):
        from ..encoder.checkpoints.load import load_tokenizer, read_config, read_kind

        return Reading(read_config(folder), read_kind(path_or_id), load_tokenizer(folder))


def kind_of(path_or_id: str | Path) -> Kind:
    """The kind of task that a saved model with a head answers, by its config.json alone.

    Raises TrimformerError as :func:`read_folder`.
    """
    folder = resolve(path_or_id)
    if (config := read_own(folder)) is not None:
        return _kind(path_or_id, folder, config)
    with explained(f"trimformer did not write the config.json in {folder} (`trimformer export` does), and reading it"):
        from ..encoder.checkpoints.load import read_kind

        return read_kind(path_or_id)


def exits_in(folder: Path) -> dict[str, Any] | None:
    """The exits of the model in a folder, as its config.json has them; None where it has none."""
    config = read_own(folder)
    return None if config is None else config.exits


def _kind(path_or_id: str | Path, folder: Path, config: SavedConfig) -> Kind:
    head = head_of(architecture(folder))
    if head is None:
        head = "ForEmbedding" if is_sentence_encoder(fetch(path_or_id)) else "ForSequenceClassification"
    return kind_of_head(head, config.problem_type, config.label_names)
