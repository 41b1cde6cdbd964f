"""Turn gates into structure: the one function that removes what a method has switched off."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...errors import TrimformerError
from ..model.body import TrimformerPreTrainedModel
from ..shape.config import ATTENTION_KINDS, DEFAULT_KERNEL, LayerShape, lesser
from ..shape.gates import Gates
from .keep import Kept, kept_by, sliced

Model = TypeVar("Model", bound=TrimformerPreTrainedModel)


def trim(model: Model, gates: Gates | None = None, *, attention: Mapping[int, str] | None = None) -> Model:
    """A new, smaller model without what is switched off; the model given is left as it was.

    gates: those of attention, positions and layers must be hard (every value 0 or 1). A layer whose attention gate is
        0 becomes what ``gates.removed`` says, a ``full`` layer whose positions are all 0 a ``mean`` layer, one
        without any head ``bias``. Heads, units and dimensions of a layer whose gates are 0 are cut out of its
        weights, hidden dimensions out of all weights, and whole layers are left out. All heads of a layer keep as
        many dimensions as the one that keeps most; the others get zeros. Soft gates of what is kept are multiplied
        into the weights. The law: ``trim(model, gates)(x) == model(x, gates=gates)``.
    attention: instead of gates, the attention kind of layers by index from 0, e.g. ``{2: "mean", 3: "none"}``;
        ``conv7`` is ``conv`` with a kernel of 7. A layer that becomes ``conv`` gives what its mean gives, until it is
        trained.

    Raises TrimformerError for soft gates of those, for a layer that does not exist, for positions removed only in
    part (no attention kind can hold them yet), for a layer that is asked to become a kind whose weights it does not
    have, and for what this architecture cannot lose.
    """
    if (gates is None) == (attention is None):
        raise TrimformerError("trim needs either gates or attention={layer: kind}, and not both.")
    shapes = list(model.config.shapes)
    kinds = dict(attention or {}) if gates is None else _kinds_from_gates(gates, shapes)
    for index, kind in kinds.items():
        if not 0 <= index < len(shapes):
            raise TrimformerError(f"There is no layer {index}: layers are numbered 0 to {len(shapes) - 1}.")
        shapes[index] = _changed(shapes[index], kind, index)
    _check_convolutions_are_new(model, shapes)
    return _rebuilt(model, kept_by(gates or Gates(), model.config.with_shapes(shapes)))


def _changed(shape: LayerShape, wanted: str, index: int) -> LayerShape:
    """The shape with another attention kind, which must find its weights among those of the layer."""
    kind, digits = _split_kernel(wanted)
    kernel = 0 if kind != "conv" else int(digits or shape.kernel or DEFAULT_KERNEL)
    changed = dataclasses.replace(shape, attention=kind, kernel=kernel)
    before = shape.attention
    if lesser(before, changed.attention) != changed.attention and (before, kind) != ("mean", "conv"):
        raise TrimformerError(f"Layer {index} is {before!r} and has not the weights to become {kind!r} again.")
    if shape.kernel and kernel not in (0, shape.kernel):
        raise TrimformerError(f"Layer {index} has a kernel of {shape.kernel}: it cannot get one of {kernel}.")
    return changed


def _split_kernel(kind: str) -> tuple[Any, str]:
    """``conv7`` -> (``conv``, ``7``); of other kinds the second part is empty."""
    return ("conv", kind.removeprefix("conv")) if re.fullmatch(r"conv\d*", kind) else (kind, "")


def _check_convolutions_are_new(model: TrimformerPreTrainedModel, shapes: list[LayerShape]) -> None:
    """A layer that becomes ``conv`` must not fall heir to a trained convolution: it is to start as its mean."""
    before, groups = model.config.shapes, model.config.sharing or range(len(shapes))
    trained = {group for group, shape in zip(groups, before, strict=True) if shape.attention == "conv"}
    for index, group in enumerate(groups):
        if group in trained and shapes[index].attention == "conv" != before[index].attention:
            raise TrimformerError(
                f"Layer {index} shares its weights with layers that are 'conv' already: make those of a group 'conv' "
                "at one time."
            )


def _rebuilt(model: Model, kept: Kept) -> Model:
    """The model in the shape that is kept, with the weights that are kept of it."""
    weights = model.state_dict()
    with torch.device("meta"):  # the random start values would be thrown away: do not make them
        smaller = type(model)(kept.config)
    zeros = torch.zeros(1, dtype=model.dtype, device=model.device)

    def own(name: str, shape: torch.Size) -> Tensor:
        source = kept.source(name)
        if source not in weights:  # only a convolution can be new, and it starts at zero
            return zeros.new_zeros(shape)
        return sliced(name, weights[source].detach(), kept, shape).clone()

    smaller.load_state_dict({name: own(name, w.shape) for name, w in smaller.state_dict().items()}, assign=True)
    return smaller.train(model.training)


def _kinds_from_gates(gates: Gates, shapes: list[LayerShape]) -> dict[int, str]:
    kinds: dict[int, str] = {}
    for given in (gates.attention, gates.positions):
        if given is not None and len(given) != len(shapes):
            raise TrimformerError(f"There are gates for {len(given)} layers, but the model has {len(shapes)}.")
    if gates.attention is not None:
        values = gates.attention.detach().float()
        if not ((values == 0) | (values == 1)).all():
            raise TrimformerError(f"Gates of attention must be hard (0 or 1) to trim, got {values.tolist()}.")
        off = (index for index, value in enumerate(values.tolist()) if value == 0)
        kinds = {index: lesser(shapes[index].attention, gates.removed) for index in off}
    for index, mask in enumerate(gates.positions if gates.positions is not None else []):
        if index in kinds or shapes[index].attention != "full":
            continue  # gated off already, or no positions to remove: they say nothing
        if not mask.any():
            kinds[index] = "mean"
        elif not (mask == 1).all():
            raise TrimformerError(
                f"The positions of layer {index} are removed only in part: no attention kind can hold that yet, "
                "only layers with all positions removed can be trimmed."
            )
    return kinds


def parse_attention(text: str) -> dict[int, str]:
    """Read ``2-11=mean`` or ``0=none,4-5=conv7`` (layers from 0, ranges inclusive) into {layer: kind}."""
    kinds: dict[int, str] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*=\s*(\w+)\s*", part)
        if match is None or _split_kernel(match[3])[0] not in ATTENTION_KINDS:
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
