"""Turn gates into structure: the one function that removes what a method has switched off."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from ..errors import TrimformerError
from .config import ATTENTION_KINDS, LayerShape
from .gates import Gates
from .modeling import TrimformerPreTrainedModel

Model = TypeVar("Model", bound=TrimformerPreTrainedModel)


def trim(model: Model, gates: Gates | None = None, *, attention: Mapping[int, str] | None = None) -> Model:
    """A new, smaller model without what is switched off; the model given is left as it was.

    gates: hard gates (every value 0 or 1). A layer whose attention gate is 0, or whose positions are all 0, becomes
        a ``mean`` layer. The law: ``trim(model, gates)(x) == model(x, gates=gates)``.
    attention: instead of gates, the attention kind of layers by index from 0, e.g. ``{2: "mean", 3: "mean"}``.

    Raises TrimformerError for soft gates, for a layer that does not exist, for positions removed only in part (no
    attention kind can hold them yet), and for a ``mean`` layer that is asked to become ``full`` again.
    """
    if (gates is None) == (attention is None):
        raise TrimformerError("trim needs either gates or attention={layer: kind}, and not both.")
    shapes = list(model.config.shapes)
    kinds: dict[int, Any] = dict(attention or {})
    if gates is not None:
        kinds = _kinds_from_gates(gates, len(shapes))
    for index, kind in kinds.items():
        if not 0 <= index < len(shapes):
            raise TrimformerError(f"There is no layer {index}: layers are numbered 0 to {len(shapes) - 1}.")
        if kind == "full" and shapes[index].attention != "full":
            raise TrimformerError(
                f"Layer {index} has no query and key weights any more: it cannot become 'full' again."
            )
        shapes[index] = dataclasses.replace(shapes[index], attention=kind)
    return with_shapes(model, shapes)


def with_shapes(model: Model, shapes: list[LayerShape]) -> Model:
    """A copy of the model in other (smaller) shapes, with the weights that these shapes keep."""
    config = model.config.with_shapes(shapes)
    weights = model.state_dict()
    with torch.device("meta"):  # the random start values would be thrown away: do not make them
        smaller = type(model)(config)
    kept = {name: weights[name].detach().clone() for name in smaller.state_dict()}
    smaller.load_state_dict(kept, assign=True)
    return smaller.train(model.training)


def _kinds_from_gates(gates: Gates, layers: int) -> dict[int, str]:
    kinds: dict[int, str] = {}
    for given in (gates.attention, gates.positions):
        if given is not None and len(given) != layers:
            raise TrimformerError(f"There are gates for {len(given)} layers, but the model has {layers}.")
    if gates.attention is not None:
        values = gates.attention.detach().float()
        if not ((values == 0) | (values == 1)).all():
            raise TrimformerError(f"Gates must be hard (0 or 1) to trim, got {values.tolist()}.")
        kinds = {index: "mean" for index, value in enumerate(values.tolist()) if value == 0}
    for index, mask in enumerate(gates.positions if gates.positions is not None else []):
        if index in kinds:
            continue  # gated off already: its positions say nothing
        if not mask.any():
            kinds[index] = "mean"
        elif not (mask == 1).all():
            raise TrimformerError(
                f"The positions of layer {index} are removed only in part: no attention kind can hold that yet, "
                "only layers with all positions removed can be trimmed."
            )
    return kinds


def parse_attention(text: str) -> dict[int, str]:
    """Read ``2-11=mean`` or ``0=mean,4-5=mean`` (layers from 0, ranges inclusive) into {layer: kind}."""
    kinds: dict[int, str] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*=\s*(\w+)\s*", part)
        if match is None or match[3] not in ATTENTION_KINDS:
            raise TrimformerError(
                f"Cannot read the layers {part!r}: write LAYER=KIND or FIRST-LAST=KIND with a kind of "
                f"{', '.join(ATTENTION_KINDS)}, for example 2-11=mean."
            )
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise TrimformerError(f"The range {part!r} ends before it starts.")
        kinds |= {index: match[3] for index in range(first, last + 1)}
    return kinds
