"""Layers in which several kinds of attention run side by side, and their answers are summed with shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from ...encoder.gating.trim import changed, named, trim
from ...encoder.model.body import share
from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.tokens import Tokens
from ...encoder.shape.config import LayerShape, TrimformerConfig
from ...encoder.shape.gates import Gates, LayerGates, hard_value
from ...encoder.shape.kinds import stand_ins
from ...errors import TrimformerError

Model = TypeVar("Model", bound=TrimformerWithHead)
Candidates = list[dict[str, LayerShape]]
"""For each layer by name the kinds of attention that it may have, with its shape then; its own is the first."""


def candidates(config: TrimformerConfig, kinds: Sequence[str] | None = None) -> Candidates:
    """What the layers may have, of these kinds or, None, of all that can stand in for attention.

    A kind for which a layer does not have the weights is none of its candidates. Raises TrimformerError for a kind that
    there is not.
    """
    names = stand_ins() if kinds is None else kinds
    for name in names:
        named(name)
    found: Candidates = []
    for index, shape in enumerate(config.shapes):
        own = {shape.attention: shape}
        for name in names:
            try:
                other = changed(shape, name, index)
            except TrimformerError:
                continue
            if other not in own.values():
                own[name] = other
        found.append(own)
    return found


class Mixture(Gates):
    """Gates on the kinds of attention: for each layer the share (candidates,) with which each counts."""

    def __init__(self, shares: Sequence[Tensor]) -> None:
        super().__init__()
        self.shares = shares

    def layer(self, index: int) -> LayerGates:
        return LayerMixture(self.shares[index])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({[own.tolist() for own in self.shares]})"


class LayerMixture(LayerGates):
    """The shares of one layer."""

    def __init__(self, shares: Tensor) -> None:
        super().__init__()
        self.shares = shares


class MixedAttention(nn.Module):
    """Kinds of attention, each with weights of its own: (batch, n, hidden) -> the sum of their answers, each times its
    share; a kind whose share is just 0 is not computed."""

    def __init__(self, kinds: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.kinds = nn.ModuleDict(kinds)

    @property
    def own(self) -> nn.Module:
        """That which the layer had."""
        return next(iter(self.kinds.values()))

    def forward(self, x: Tensor, tokens: Tokens, gates: LayerMixture) -> Tensor | None:
        total: Tensor | None = None
        for part, kind in zip(gates.shares, self.kinds.values(), strict=True):
            given = None if hard_value(part) == 0 else kind(x, tokens)
            if given is not None:
                given = part.to(given.dtype) * given
                total = given if total is None else total + given
        if tokens.trace is not None and self.own in tokens.trace:
            tokens.trace[self] = tokens.trace[self.own]
        return total


def mix(model: Any, kinds: Candidates) -> None:
    """Put all candidates into the layers of a model, made of the weights that are there; it is then called with a
    :class:`Mixture`. Layers that share their weights share those of all kinds."""
    names = dict.fromkeys(name for own in kinds for name in own)
    parts: list[dict[str, nn.Module]] = [{} for _ in kinds]
    for name in names:
        able = [index for index, own in enumerate(kinds) if name in own]
        others = {index: name for index in able if next(iter(kinds[index])) != name}
        made = trim(model, attention=others).encoder.layers if others else model.encoder.layers
        for index in able:
            parts[index][name] = (made if index in others else model.encoder.layers)[index].attention
    if (groups := model.config.sharing) is not None:  # what is left could not have other weights for each kind
        share([kind for own in parts for kind in own.values()], [groups[i] for i, own in enumerate(parts) for _ in own])
    for layer, own, order in zip(model.encoder.layers, parts, kinds, strict=True):
        layer.attention = MixedAttention({name: own[name].train(layer.training) for name in order})


def unmixed(model: Model, choice: Sequence[str]) -> Model:
    """A new model in which each layer has one of its candidates, with its weights as they are; the one given is left
    as it is."""
    layers: Any = model.encoder.layers
    mixed = [layer.attention for layer in layers]
    own = [next(iter(attention.kinds)) for attention in mixed]
    try:
        for layer, attention in zip(layers, mixed, strict=True):
            layer.attention = attention.own
        left = trim(model, attention={i: name for i, name in enumerate(choice) if name != own[i]})
    finally:
        for layer, attention in zip(layers, mixed, strict=True):
            layer.attention = attention
    made: Any = left.encoder.layers
    for layer, attention, name in zip(made, mixed, choice, strict=True):
        layer.attention.load_state_dict(attention.kinds[name].state_dict())
    return left
