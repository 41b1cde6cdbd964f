"""By what the states of passages were made, so that none are read by another model."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ...tasks.cuts import Cuts
from ...tasks.encoding.tokenizers import AnyTokenizer
from ...tasks.kinds import KINDS

UNSAVED = ("truncation", "padding")
"""Settings of a fast tokenizer that are those of its last call."""


def require_split(config: Any, model: object) -> None:
    """Raise TrimformerError where no layer sees each text by itself."""
    if not config.split_layers:
        raise TrimformerError(
            f"All layers of the model in {model} see both texts of a pair, so that nothing of a passage alone can be "
            "kept: split it first (trimformer compress --method deformer)."
        )


def made_by(config: Any, kind: Kind, weights: str, tokenizer: AnyTokenizer, cuts: Cuts) -> dict[str, Any]:
    """All that the states of a passage depend on. weights: a digest of those of the lower layers."""
    return {
        "split_layers": config.split_layers,
        "passage_start": config.passage_start,
        "hidden_size": config.hidden_size,
        "weights": weights,
        "tokenizer": _tokenizer(tokenizer),
        "windows": KINDS[kind].per_token,
        **cuts._asdict(),
    }


def _tokenizer(tokenizer: AnyTokenizer) -> str:
    fast: Any = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise TrimformerError(
            "Passages need a fast tokenizer, which says where tokens stand in a text: save tokenizer.json beside the "
            "model."
        )
    content = {name: value for name, value in json.loads(fast.to_str()).items() if name not in UNSAVED}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
