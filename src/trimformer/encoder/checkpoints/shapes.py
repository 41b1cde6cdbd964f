"""Shapes by name, and bare ones with random weights for speed trials: ``shape:bert-base,attention=2-11=mean``."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

import torch

from ...errors import TrimformerError
from ..gating.trim import parse_attention, trim
from ..model.heads import TrimformerForSequenceClassification
from ..shape.config import LayerShape, TrimformerConfig

PREFIX = "shape:"

# layers, hidden size, heads, feed-forward units (Devlin et al. 2019; Turc et al. 2019; Wang et al. 2020; Jiao et al.
# 2020)
NAMED: dict[str, tuple[int, int, int, int]] = {
    "bert-tiny": (2, 128, 2, 512),
    "bert-mini": (4, 256, 4, 1024),
    "bert-small": (4, 512, 8, 2048),
    "bert-medium": (8, 512, 8, 2048),
    "tinybert4": (4, 312, 12, 1200),
    "minilm6": (6, 384, 12, 1536),
    "tinybert6": (6, 768, 12, 3072),
    "bert-base": (12, 768, 12, 3072),
    "bert-large": (24, 1024, 16, 4096),
}
FORMER = {"minilm-l6": "minilm6"}
"""What shapes were called once."""


def sizes_named(name: str) -> tuple[int, int, int, int]:
    """Layers, hidden size, heads and units of a named shape; raises TrimformerError that names the nearest one."""
    name = FORMER.get(name, name)
    if name not in NAMED:
        near = difflib.get_close_matches(name, NAMED, 1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise TrimformerError(f"Unknown shape {name!r}: known are {', '.join(NAMED)}{hint}")
    return NAMED[name]


def uniform_config(layers: int, hidden: int, heads: int, ffn: int, **others: Any) -> TrimformerConfig:
    """A dense configuration with equal layers."""
    shape = LayerShape("full", heads, hidden // heads, ffn)
    return TrimformerConfig(hidden_size=hidden, layers=[dataclasses.asdict(shape)] * layers, **others)


def from_shape(text: str, seed: int = 0) -> TrimformerForSequenceClassification:
    """A classifier of a named shape with seeded random weights."""
    name, _, rest = text.removeprefix(PREFIX).partition(",")
    sizes = sizes_named(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TrimformerForSequenceClassification(uniform_config(*sizes))
    if not rest:
        return model.eval()
    key, _, layers = rest.partition("=")
    if key != "attention":
        raise TrimformerError(f"Cannot read {rest!r} in {text!r}: only attention=LAYERS=KIND can follow the name.")
    return trim(model, attention=parse_attention(layers)).eval()
