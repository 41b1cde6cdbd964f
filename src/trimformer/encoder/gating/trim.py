"""Turn gates into structure: the one function that removes what a method has switched off."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...errors import TrimformerError
from ..model.body import TrimformerPreTrainedModel
from ..parts.baked import require_baked
from ..shape.config import LayerShape, TrimformerConfig
from ..shape.gates import Gates
from ..shape.kinds import ATTENTION, left_of
from .keep import LAYER_NAME, Kept, axes_of, kept_by, sliced
from .nested import subnetwork_gates

Model = TypeVar("Model", bound=TrimformerPreTrainedModel)
Wanted = str | Mapping[str, Any]
"""A kind of attention as a text, or ``kind`` and fields of its shape."""


def trim(
    model: Model,
    gates: Gates | None = None,
    *,
    attention: Mapping[int, Wanted] | None = None,
    width: float | None = None,
    depth: float | None = None,
) -> Model:
    """A new, smaller model without what is switched off; the model given is left as it was.

    gates: those of attention, positions and layers must be hard (every value 0 or 1). A layer whose attention gate is
        0 becomes what ``gates.removed`` says, a ``full`` layer whose positions are all 0 a ``mean`` layer, one
        without any head ``bias``. Heads, units and dimensions of a layer whose gates are 0 are cut out of its
        weights, hidden dimensions out of all weights, and whole layers are left out. All heads of a layer keep as
        many dimensions as the one that keeps most; the others get zeros. Soft gates of what is kept are multiplied
        into the weights. The law: ``trim(model, gates)(x) == model(x, gates=gates)``.
    attention: instead of gates, the attention kind of layers by index from 0, e.g. ``{2: "mean", 3: "none"}``;
        ``conv7`` is ``conv`` with a kernel of 7, and ``{"kind": "sparse", "pattern": {"name": "star"}}`` names a kind
        and what it has to know. A layer that becomes ``conv`` gives what its mean gives, until it is trained.
    width, depth: instead of gates, the sub-network of a model that was trained by ``dynabert`` to hold smaller ones:
        the share of the heads and units of each layer, and of the layers; 1 where only the other is given.

    Raises TrimformerError for soft gates of those, for a layer that does not exist, for positions removed only in
    part (no attention kind can hold them yet), for a layer that is asked to become a kind whose weights it does not
    have, for a sub-network that was not trained, and for what this architecture cannot lose.
    """
    nested = (width, depth) != (None, None)
    if (gates is not None) + (attention is not None) + nested != 1:
        raise TrimformerError("trim needs either gates or attention={layer: kind}, or width and depth: give one.")
    if nested:
        gates = subnetwork_gates(model.config, 1.0 if width is None else width, 1.0 if depth is None else depth)
    kinds: Mapping[int, Wanted] = (
        dict(attention or {}) if gates is None else _kinds_from_gates(gates, model.config.shapes)
    )
    shapes = _with_kinds(model.config.shapes, kinds)
    _check_new_weights(model, shapes)
    require_baked(model, "trimmed")
    return rebuilt(model, kept_by(gates or Gates(), model.config.with_shapes(shapes)))


def trimmed_config(config: TrimformerConfig, gates: Gates) -> TrimformerConfig:
    """The configuration of what :func:`trim` leaves, for who does not need the weights."""
    shapes = _with_kinds(config.shapes, _kinds_from_gates(gates, config.shapes))
    return kept_by(gates, config.with_shapes(shapes)).config


def _with_kinds(shapes: Sequence[LayerShape], kinds: Mapping[int, Wanted]) -> list[LayerShape]:
    """The shapes with other kinds of attention in some layers."""
    found = list(shapes)
    for index, kind in kinds.items():
        if not 0 <= index < len(found):
            raise TrimformerError(f"There is no layer {index}: layers are numbered 0 to {len(found) - 1}.")
        found[index] = changed(found[index], kind, index)
    return found


def changed(shape: LayerShape, wanted: Wanted, index: int) -> LayerShape:
    """The shape with another kind of attention; raises TrimformerError where the layer has no weights for it."""
    kind, fields = named(wanted)
    able = left_of(shape.attention, kind) == kind or shape.attention in ATTENTION[kind].grown_from
    if kind != shape.attention and not able:
        raise TrimformerError(
            f"Layer {index} is {shape.attention!r} and does not have the weights to become {kind!r} "
            "again: choose a kind that has less."
        )
    try:
        found: LayerShape = ATTENTION[kind].shaped(shape, **fields)
    except TrimformerError as error:
        said = wanted if isinstance(wanted, str) else kind
        raise TrimformerError(f"Layer {index} cannot become {said!r}: {error}") from error
    return found


def named(text: Wanted) -> tuple[str, dict[str, Any]]:
    """The attention kind that is wanted, and fields of its shape: ``conv7`` -> (``conv``, {``kernel``: 7}).

    Raises TrimformerError that lists the kinds for a text that names none, and for a field that the kind does not have.
    """
    if isinstance(text, Mapping):
        fields = {name: value for name, value in text.items() if name != "kind"}
        kind = ATTENTION.find(text.get("kind", ""))
        known = {*kind.settings, *(field.name for field in dataclasses.fields(LayerShape))}
        if unknown := [name for name in fields if name not in known]:
            raise TrimformerError(f"Attention of kind {kind.kind} has no {unknown[0]!r}: leave it out.")
        return kind.kind, fields
    for name, kind in ATTENTION.items():
        if (fields := kind.named(text)) is not None:
            return name, fields
    raise TrimformerError(f"Unknown attention kind {text!r}: use one of {', '.join(ATTENTION)}.")


def _check_new_weights(model: TrimformerPreTrainedModel, shapes: list[LayerShape]) -> None:
    """A layer that gets new weights must not fall heir to trained ones: it is to start as its part says."""
    before, groups = model.config.shapes, model.config.sharing or range(len(shapes))
    trained = {(group, shape.attention) for group, shape in zip(groups, before, strict=True)}
    for index, group in enumerate(groups):
        kind = shapes[index].attention
        if ATTENTION[kind].starts and kind != before[index].attention and (group, kind) in trained:
            raise TrimformerError(
                f"Layer {index} shares its weights with layers that are {kind!r} already: make those of a group "
                f"{kind!r} at one time."
            )


def rebuilt(model: Model, kept: Kept) -> Model:
    """The model in the shape that is kept, with the weights that are kept of it."""
    weights = model.state_dict()
    with torch.device("meta"):  # the random start values would be thrown away: do not make them
        smaller = type(model)(kept.config)
    axes = axes_of(smaller)

    def own(name: str, shape: torch.Size) -> Tensor:
        source = kept.source(name)
        if name in kept.fresh:
            return kept.fresh[name].to(model.device, model.dtype)
        if source not in weights:
            return torch.full(shape, _start(name, kept.config), dtype=model.dtype, device=model.device)
        weight = weights[source].detach()
        return sliced(name, weight, kept.of(name, axes[name]), shape).clone()

    smaller.load_state_dict({name: own(name, w.shape) for name, w in smaller.state_dict().items()}, assign=True)
    smaller.config.input_ranges = None  # those of the layers that were there before
    smaller.tie_weights(recompute_mapping=False)  # each name was given a tensor of its own
    return smaller.train(model.training)


def _start(name: str, config: TrimformerConfig) -> float:
    """The value of a weight that the model did not have; raises TrimformerError where no part says that it is new."""
    found = LAYER_NAME.match(name)
    if found is not None:
        starts = ATTENTION[config.shapes[int(found[2])].attention].starts
        if (own := name[found.end() :].removeprefix("attention.")) in starts:
            return float(starts[own])
    raise TrimformerError(
        f"The weight {name} of the smaller model is not among those of the model, and its part does not say that it "
        "may be new: nothing was trimmed."
    )


def _kinds_from_gates(gates: Gates, shapes: Sequence[LayerShape]) -> dict[int, str]:
    kinds: dict[int, str] = {}
    for given in (gates.attention, gates.positions):
        if given is not None and len(given) != len(shapes):
            raise TrimformerError(f"There are gates for {len(given)} layers, but the model has {len(shapes)}.")
    if gates.attention is not None:
        values = gates.attention.detach().float()
        if not ((values == 0) | (values == 1)).all():
            raise TrimformerError(f"Gates of attention must be hard (0 or 1) to trim, got {values.tolist()}.")
        off = (index for index, value in enumerate(values.tolist()) if value == 0)
        kinds = {index: left_of(shapes[index].attention, gates.removed) for index in off}
    if gates.contributions is not None and any(not (own == 1).all() for own in gates.contributions if own is not None):
        raise TrimformerError(
            "Factors of attention weights cannot be trimmed, because no kind holds them: leave contributions out."
        )
    if gates.tokens is not None:
        raise TrimformerError(
            "Factors of tokens by rank cannot be trimmed: say in the tokens of a layer's shape how many it hands on."
        )
    for index, mask in enumerate(gates.positions if gates.positions is not None else []):
        if mask is None or index in kinds or not ATTENTION[shapes[index].attention].attends:
            continue  # not given, gated off already, or no positions to remove: they say nothing
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
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*=\s*([\w-]+)\s*", part)
        if match is None or all(kind.named(match[3]) is None for kind in ATTENTION.values()):
            raise TrimformerError(
                f"Cannot read the layers {part!r}: write LAYER=KIND or FIRST-LAST=KIND with a kind of "
                f"{', '.join(ATTENTION)}, for example 2-11=mean."
            )
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise TrimformerError(f"The range {part!r} ends before it starts.")
        kinds |= {index: match[3] for index in range(first, last + 1)}
    return kinds
