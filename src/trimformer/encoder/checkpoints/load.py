"""Read a checkpoint from a folder, a hub id or a bare shape into the one encoder, and check it on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ...console import console
from ...errors import TrimformerError
from ...saved.config import CONFIG, architecture, read_json
from ...saved.folder import fetch, resolve
from ...saved.kinds import OWN, PROBLEM_TYPES, Kind, head_of
from ...saved.modules import MODULES, is_sentence_encoder, read_as_there
from ...saved.tokenizer_check import check_length, fit
from ..model.body import TrimformerModel
from ..model.heads import (
    HEADS,
    TrimformerForEmbedding,
    TrimformerForMaskedLM,
    TrimformerWithHead,
    head_class,
)
from ..shape.config import TrimformerConfig
from ..shape.embedding import EmbeddingShape
from .config_file import read_config
from .families import family_of
from .sentence import read_embedding, unused_files
from .shapes import PREFIX, from_shape
from .weight_files import read_weights


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint under the names of a model with a head (``encoder.*``, ``head.*``), not yet built.

    head: the model class whose head it holds, None for a bare body. masked_lm: the weights of a masked-LM head; that of
    a stock checkpoint, which pre-training left, is no head but for who asks for that kind. unused: names of weights,
    files and modules that belong to neither body nor head, those of pre-training heads left out. assumed: what was
    taken for granted, in a sentence.
    """

    config: TrimformerConfig
    weights: dict[str, Tensor]
    head: type[TrimformerWithHead] | None
    source: str
    unused: tuple[str, ...] = ()
    masked_lm: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    assumed: str = ""

    @property
    def kind(self) -> Kind | None:
        """The kind of task that the head was made for, None for a bare body."""
        return None if self.head is None else self.head.kind_under(self.config)

    @property
    def note(self) -> str | None:
        """What of it is in no model that is made of it, and what was assumed, in sentences; None: nothing."""
        if not self.unused:
            return self.assumed or None
        more = f" and {len(self.unused) - 10} more" if len(self.unused) > 10 else ""
        return (
            f"These parts of {self.source} were not used: {', '.join(self.unused[:10])}{more}. {self.assumed}".strip()
        )

    def without_exits(self) -> tuple[Checkpoint, list[str]]:
        """The same without its exits, which belong to the weights as they are, and a sentence on that; or as it is."""
        if self.config.exits is None:
            return self, []
        config = TrimformerConfig.from_dict(self.config.to_dict() | {"exits": None})
        weights = {name: weight for name, weight in self.weights.items() if not name.startswith("exits.")}
        said = f"The exits of {self.source} were left out: they belong to the weights as they were."
        return dataclasses.replace(self, config=config, weights=weights), [said]

    @property
    def pools(self) -> bool:
        """Whether its folder names modules that make a vector of a text."""
        return is_sentence_encoder(fetch(self.source))

    def as_embedding(self) -> Checkpoint:
        """The same as an embedding model: with the modules of a sentence-transformers folder, where it is one.

        Other encoders give the mean over their tokens, as sentence-transformers takes them. Raises TrimformerError for
        modules that no head here has.
        """
        if self.head is TrimformerForEmbedding:
            return self
        folder, said = fetch(self.source), ""
        if (folder / MODULES).is_file():
            shape, weights = read_embedding(folder, self.config.hidden_size)
            if name := shape.settings.get("default_prompt_name"):
                said = f"The prompt {name!r} of {self.source} is put before no text: write it there where it is meant."
        else:
            shape, weights = EmbeddingShape(), {}
            said = f"{self.source} names no pooling ({MODULES}): the vector of a text is the mean over its tokens."
        body = {name: weight for name, weight in self.weights.items() if name.startswith("encoder.")}
        config = with_labels(self.config, (), "embedding")
        config.embedding = shape.to_dict()
        return Checkpoint(config, body | weights, TrimformerForEmbedding, self.source, assumed=said)


def read_kind(path_or_id: str | Path) -> Kind:
    """The kind of task that a saved model with a head answers, by its config.json alone."""
    folder = resolve(path_or_id)
    named = _named_head(folder)
    if named is None and is_sentence_encoder(fetch(path_or_id)):
        named = TrimformerForEmbedding
    return (named or HEADS[0]).kind_under(read_config(folder))


def has_head(path_or_id: str | Path) -> bool:
    """Whether a saved model has a head for a task, by its config.json alone."""
    return _named_head(resolve(path_or_id)) is not None


def _named_head(folder: Path) -> type[TrimformerWithHead] | None:
    """The model class that config.json names, None where it names none that has a head for a task."""
    head = head_of(architecture(folder))
    return next((cls for cls in HEADS if head is not None and cls.__name__ == OWN + head), None)


def load(
    path_or_id: str | Path, *, labels: Sequence[str] | None = None, kind: Kind | None = None
) -> TrimformerModel | TrimformerWithHead:
    """Load an encoder in evaluation mode, fp32.

    path_or_id: a folder or hub id with a supported Hugging Face checkpoint or a model saved by trimformer; ``demo``
        (the offline demo encoder); or a bare shape with random weights such as ``shape:bert-base``.
    labels: replace the head by a new random one for these labels (``()`` for regression). Without it a head in the
        checkpoint is kept, and a checkpoint without one gives the bare body.
    kind: what the new head answers: ``classification`` (the default with labels), ``multilabel``, ``regression``,
        ``ranking`` (a score per couple), ``tokens`` (a label per word), ``spans`` (question answering) or
        ``masked-lm`` (the masked tokens; the one of pre-training where the checkpoint has it); numbers, scores, spans
        and masked tokens need no labels. ``embedding``: a vector per text, by the modules of a sentence-transformers
        folder, which is else loaded as the bare body.

    Raises TrimformerError for an unsupported architecture and for missing, truncated or foreign weight files.
    """
    if str(path_or_id).startswith(PREFIX):
        if labels is not None or kind is not None:
            raise TrimformerError("A bare shape has a head already: leave labels and kind out.")
        return from_shape(str(path_or_id))
    checkpoint = read_checkpoint(path_or_id)
    model = build(checkpoint, labels=labels, kind=kind)
    if checkpoint.head is not None and kind is None and labels is None and checkpoint.note is not None:
        console.print(checkpoint.note, markup=False, soft_wrap=True)  # the head may have needed them
    return model


def load_with_head(path_or_id: str | Path) -> TrimformerWithHead:
    """Load a model that must have a task head, or be a sentence-transformers folder; else raises TrimformerError."""
    sentences = not str(path_or_id).startswith(PREFIX) and read_kind(path_or_id) == "embedding"
    model = load(path_or_id, kind="embedding" if sentences else None)
    if not isinstance(model, TrimformerWithHead):
        raise TrimformerError(f"{path_or_id} has no task head to score: fine-tune it first (trimformer compress).")
    return model


def load_tokenizer(path_or_id: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer that lies beside the weights: fast where there is one of its kind, else slow.

    Of segments that the encoder does not have it knows nothing. Raises TrimformerError where there is none, where it
    cannot be read or needs a package that is missing, and where its ids are not those of the encoder.
    """
    folder = resolve(path_or_id)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except ImportError as error:
        raise TrimformerError(f"The tokenizer in {folder} needs a package that is missing: {_line(error)}") from error
    except Exception as error:  # the readers of the many formats raise their own kinds
        raise _no_tokenizer(folder, _line(error)) from error
    # Without any file transformers makes one that knows no words.
    files = set(tokenizer.vocab_files_names.values())
    if files and not any((folder / name).is_file() for name in files):
        raise _no_tokenizer(folder, f"none of {', '.join(sorted(files))}")
    check_length(tokenizer, folder)
    if (folder / CONFIG).is_file():
        fit(tokenizer, read_config(folder), folder)
    read_as_there(tokenizer, folder)
    return tokenizer


def _no_tokenizer(folder: Path, why: str) -> TrimformerError:
    return TrimformerError(
        f"There is no readable tokenizer in {folder} ({why}): save it there with tokenizer.save_pretrained."
    )


def build(
    checkpoint: Checkpoint, *, labels: Sequence[str] | None = None, kind: Kind | None = None
) -> TrimformerModel | TrimformerWithHead:
    """Make the model of a checkpoint; every weight must be there and fit. The arguments are those of :func:`load`."""
    if kind == "embedding" and not labels:
        checkpoint, kind, labels = checkpoint.as_embedding(), None, None
    config, weights = checkpoint.config, dict(checkpoint.weights)
    if kind is None and labels is not None:
        kind = "classification" if labels else "regression"
    cls: Any
    if kind is not None:
        cls = head_class(kind)
        fewest = {"classification": 2, "multilabel": 1, "tokens": 1}.get(kind, 0)
        if len(labels or ()) < fewest:
            raise TrimformerError(f"A head for {kind} needs label names, at least {fewest}: give labels.")
        if labels and not fewest:
            raise TrimformerError(f"A head for {kind} has no labels: leave them out.")
        if kind != "masked-lm":  # whose outputs are the vocabulary
            config = with_labels(config, labels or (), kind)
        # What lies below the last layer of a head of the same shape (BERT's pooler) is a good start.
        same = checkpoint.head in (None, cls) and cls.keeps_lower_head
        weights = {n: w for n, w in weights.items() if not n.startswith("head." if not same else "head.output.")}
        weights = {name: weight for name, weight in weights.items() if not name.startswith("exits.")}
        weights |= checkpoint.masked_lm if kind == "masked-lm" else {}
    elif checkpoint.head is not None:
        cls = checkpoint.head
        if crf := next((name for name in checkpoint.unused if "crf" in name.lower()), None):
            raise TrimformerError(
                f"{checkpoint.source} decides on tags with a CRF ({crf}), which trimformer does not have, and without "
                "it the tags are others: train its head anew (trimformer compress --fine-tune always)."
            )
    else:
        cls = TrimformerModel
        weights = {n.removeprefix("encoder."): w for n, w in weights.items() if n.startswith("encoder.")}
    if cls is not TrimformerModel and cls.kind_under(config) == "regression" and len(config.label_names) != 1:
        raise _foreign(checkpoint, f"a head for one number has {len(config.label_names)} outputs")
    try:
        with torch.device("meta"):  # shapes without numbers: what the file does not bear out is not built
            bare = cls(config)
    except Exception as error:  # an unknown activation, a padding id out of range, sizes of another type, …
        raise TrimformerError(f"No model can be made of the configuration of {checkpoint.source}: {error}.") from error
    expected = bare.state_dict()
    for name, weight in weights.items():
        if name not in expected:
            raise _foreign(checkpoint, f"{name} is not in the shape")
        if weight.shape != expected[name].shape:
            raise _foreign(
                checkpoint, f"{name} has shape {tuple(weight.shape)} instead of {tuple(expected[name].shape)}"
            )
    missing = [name for name in expected if name not in weights and name not in bare.all_tied_weights_keys]
    if kind is not None:
        missing = [name for name in missing if not name.startswith("head.")]
    if missing:
        raise _foreign(checkpoint, f"{missing[0]} is missing")
    model: Any = cls(config)
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, strict=False)
    return model.eval()


def with_labels(config: TrimformerConfig, labels: Sequence[str], kind: Kind) -> TrimformerConfig:
    """The configuration with a head of this kind for these label names."""
    names = head_labels(labels, kind)
    changes = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": PROBLEM_TYPES.get(kind),
        "embedding": config.embedding if kind == "embedding" else None,
        "exits": None,  # they are heads, too, and answer for the labels before
    }
    return TrimformerConfig.from_dict(config.to_dict() | changes)


def head_labels(labels: Sequence[str], kind: Kind) -> list[str]:
    """Names of the outputs of a head: the labels, or what stands for them in a task without labels."""
    return list(head_class(kind).unnamed.get(kind, labels))


def read_checkpoint(path_or_id: str | Path) -> Checkpoint:
    """Read configuration and weights of a folder or hub id, renamed to the one encoder's names."""
    folder = resolve(path_or_id)
    config = read_config(folder)
    family = None
    if (model_type := read_json(folder / CONFIG)["model_type"]) != TrimformerConfig.model_type:
        family = family_of(model_type)
    stock = read_weights(folder, "encoder" if family is None else family.prefix)
    head = _named_head(folder)
    unused = [] if head is TrimformerForEmbedding else unused_files(fetch(path_or_id))
    masked_lm: Mapping[str, Tensor] = {}
    if family is not None:
        weights = family.to_ours(stock, config, head)
        masked_lm = family.masked_lm(stock, config)
        unused += family.unused(stock, config, head)
    elif any(name.startswith("encoder.") for name in stock):
        weights = stock
    else:
        weights = {f"encoder.{name}": weight for name, weight in stock.items()}
    if architecture(folder).endswith("ForMultipleChoice"):  # its head scores choices, which is no task here
        weights = {name: weight for name, weight in weights.items() if not name.startswith("head.")}
    if head is TrimformerForMaskedLM:
        masked_lm = {name: weight for name, weight in weights.items() if name.startswith("head.")}
    has_head = bool(masked_lm) if head is TrimformerForMaskedLM else "head.output.weight" in weights
    found = (head or HEADS[0]) if has_head or head is TrimformerForEmbedding else None
    return Checkpoint(config, weights, found, str(path_or_id), tuple(unused), masked_lm)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _foreign(checkpoint: Checkpoint, what: str) -> TrimformerError:
    return TrimformerError(
        f"The weights in {checkpoint.source} do not fit the shape in its config.json: {what}; "
        "use the config.json that was saved with these weights."
    )
