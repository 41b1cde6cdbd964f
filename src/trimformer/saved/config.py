"""Read config.json: what stands in it is checked before anything is made of it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, Self

from ..errors import TrimformerError
from ..files import require_readable
from .exits import ExitShape

CONFIG = "config.json"
MODEL_TYPE = "trimformer"
FORMAT_VERSION = 3
"""2: layers may have ``own``, ``maps``, ``inputs``, and the kind of layer is named. Without these 1 is saved.
3: of a folder whose weights are packed; a configuration in memory never is of this format."""

MOST_LAYERS = 1_000
MOST = 10**8
"""No encoder has a size above it; what the weight file bears out is checked when a model is built."""

# Sizes by the names that the families give them: the smallest and the largest that can be meant.
SIZES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("num_hidden_layers", "n_layers"), (1, MOST_LAYERS)),
    **dict.fromkeys(("vocab_size", "hidden_size", "dim", "embedding_size", "classifier_size"), (1, MOST)),
    **dict.fromkeys(("num_attention_heads", "n_heads", "intermediate_size", "hidden_dim"), (1, MOST)),
    **dict.fromkeys(("max_position_embeddings", "num_labels"), (1, MOST // 100)),
    **dict.fromkeys(("type_vocab_size", "pad_token_id"), (0, MOST)),
    "split_layers": (0, MOST_LAYERS),
    "passage_start": (0, MOST // 100),
    **dict.fromkeys(("relative_buckets", "relative_span", "relative_attention_num_buckets"), (0, MOST // 100)),
}
# Those that may be null, which says that the checkpoint has none.
OPTIONAL = {"embedding_size", "classifier_size", "num_labels", "pad_token_id"}
# Shares, and the small number that keeps a norm from dividing by zero.
RATES: dict[str, float] = {
    **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"), 1.0),
    **dict.fromkeys(("layer_norm_eps", "norm_eps", "initializer_range"), math.inf),
}
CHOICES = {"positions": ("absolute", "from_padding", "by_segment", "none"), "classifier_pooling": ("cls", "mean")}


class Facts:
    """What is made of the fields of a configuration, whoever reads it."""

    id2label: dict | None
    problem_type: Any
    layers: list[dict] | None
    positions: str
    pad_token_id: int | None
    max_position_embeddings: int

    @property
    def label_names(self) -> list[str]:
        """Names of the head's outputs by id, whatever the order in which they were written down."""
        return [str(name) for _, name in sorted((self.id2label or {}).items())]

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included."""
        offset = (self.pad_token_id or 0) + 1 if self.positions == "from_padding" else 0
        return self.max_position_embeddings - offset

    @property
    def attention_kinds(self) -> list[str]:
        """The kind of attention of each layer, first layer first."""
        return [layer["attention"] for layer in self.layers or []]


@dataclasses.dataclass(frozen=True)
class SavedConfig(Facts):
    """What whoever runs an exported file has to know of config.json; the fields are those of `TrimformerConfig`.

    Its defaults are those of the fields there, which a saved file leaves out.
    """

    format_version: int = FORMAT_VERSION
    vocab_size: int = 30522
    hidden_size: int = 768
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    positions: str = "absolute"
    pad_token_id: int | None = 0
    problem_type: str | None = None
    id2label: dict[int, str] | None = None
    layers: list[dict[str, Any]] | None = None
    split_layers: int = 0
    passage_start: int = 0
    exits: dict[str, Any] | None = None

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """From the values of a config.json that :func:`check_values` has passed."""
        check_format(values.get("format_version", 1))
        names = values.get("id2label")
        if names is None:  # as transformers calls the outputs of a head whose labels have no names
            names = {number: f"LABEL_{number}" for number in range(values.get("num_labels") or 2)}
        own = {field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values}
        if own.get("exits") is not None:
            own["exits"] = ExitShape.read(own["exits"]).to_dict()
        return cls(**own | {"id2label": {int(number): name for number, name in names.items()}})


def read_own(folder: Path) -> SavedConfig | None:
    """The configuration in the folder of a trimformer model; None where it is of another library.

    Raises TrimformerError where there is none, and for sizes and label names that no model can have.
    """
    values = config_values(folder)
    return SavedConfig.read(values) if values.get("model_type") == MODEL_TYPE else None


def config_values(folder: Path) -> dict[str, Any]:
    """The values in config.json; raises TrimformerError where there is none, and for what no model can have."""
    file = folder / CONFIG
    if not file.is_file():
        raise TrimformerError(f"There is no {CONFIG} in {folder}: give the folder of a saved model.")
    values = read_json(file)
    check_values(values, file)
    return values


def check_format(version: int) -> None:
    """Refuse what a newer release has saved."""
    if version > FORMAT_VERSION:
        raise TrimformerError(
            f"This model was saved in format {version}, newer than the format {FORMAT_VERSION} that this trimformer "
            "reads: upgrade trimformer."
        )


def architecture(folder: Path) -> str:
    """The model class that config.json names; empty where it names none."""
    named = read_json(folder / CONFIG).get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises TrimformerError where it holds none."""
    if path.is_file():
        require_readable(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise TrimformerError(f"{path} is not a readable JSON file: {error}.") from error
    except RecursionError as error:
        raise TrimformerError(
            f"{path} is nested too deeply for a JSON file of a model: save the model again."
        ) from error
    if not isinstance(content, dict):
        raise TrimformerError(f"{path} does not hold a JSON object.")
    return content


def check_values(values: dict[str, Any], file: Path) -> None:
    """Refuse sizes and label names that no model can have."""
    for name, (low, high) in SIZES.items():
        value = values.get(name, low)
        if value is None and name in OPTIONAL:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise TrimformerError(
                f"{name} in {file} is {shortened(value)}, not a whole number from {low} to {high}: {_REMEDY}."
            )
    for name, most in RATES.items():
        value = values.get(name, 0.0)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most or value == math.inf:
            wanted = "of at least 0" if most == math.inf else f"from 0 to {most:g}"
            raise TrimformerError(f"{name} in {file} is {shortened(value)}, not a number {wanted}: {_REMEDY}.")
    for name, known in CHOICES.items():
        if values.get(name, known[0]) not in known:
            raise TrimformerError(
                f"{name} in {file} is {shortened(values[name])}, not one of {', '.join(known)}: {_REMEDY}."
            )
    if not isinstance(values.get("problem_type"), str | None):
        raise TrimformerError(f"problem_type in {file} is {shortened(values['problem_type'])}, not a name: {_REMEDY}.")
    layers = values.get("layers")
    if isinstance(layers, list) and len(layers) > MOST_LAYERS:
        raise TrimformerError(f"{file} has {len(layers)} layers, more than {MOST_LAYERS}: {_REMEDY}.")
    _check_labels(values.get("id2label"), file)


_REMEDY = "use the config.json that was saved with the weights"


def _check_labels(names: Any, file: Path) -> None:
    """Refuse names of which nobody can say to which output they belong."""
    if names is None:
        return
    what = f"id2label in {file}"
    if not isinstance(names, dict):
        raise TrimformerError(
            f"{what} is not an object of ids and names, such as {{'0': 'no', '1': 'yes'}}: write one."
        )
    wrong = [key for key in names if not (key.isascii() and key.isdigit())]
    if wrong:
        raise TrimformerError(f"{what} has {shortened(wrong[0])} where an id belongs: write whole numbers from 0.")
    ids = sorted(int(key) for key in names)
    gap = next((number for number, found in enumerate(ids) if found != number), None)
    if gap is not None:
        raise TrimformerError(
            f"{what} has {len(ids)} names and none with id {gap}, so that it is not known which output each of them "
            "belongs to: number them from 0 without gaps, in the order of the model's outputs."
        )
    twice = [name for name, count in Counter(map(str, names.values())).items() if count > 1]
    if twice:
        raise TrimformerError(f"{what} names two outputs {shortened(twice[0])}: give each a name of its own.")


def shortened(value: Any, length: int = 60) -> str:
    """A value as it is written, at most so long."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
