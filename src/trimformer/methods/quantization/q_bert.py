"""Q-BERT: few bits for each weight, and more for the layers that need them, trained under rounding.

Shen et al., "Q-BERT: Hessian Based Ultra Low Precision Quantization of BERT", 2020: weights have 2 to 4 bits in groups
with a scale each, embeddings and activations 8. Layers whose loss bends most, by the largest eigenvalue of its Hessian,
have more bits than the others. A group is 64 weights in a row here, the packing ``groups``, and all of them are
symmetric; the paper divides the rows of a matrix into groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.gating.keep import LAYER_NAME
from ...encoder.model.body import TrimformerModel
from ...encoder.model.heads import TrimformerWithHead
from ...encoder.packing.groups import FEWEST_BITS, MOST_BITS
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ..base import Context, MethodSettings, register, worded
from ..weights.masks import maps_of
from .fake import GroupedWeight, RoundedInput, RoundedTraining, round_inputs, round_weights, text_maps
from .matrices import SAME_TIME
from .sensitivity import sensitivities


class QBertSettings(MethodSettings):
    """Settings of q-bert."""

    name: Literal["q-bert"] = "q-bert"
    bits: int = Field(3, ge=FEWEST_BITS, le=MOST_BITS, description="bits of a weight of the layers")
    sensitive_bits: int = Field(
        4, ge=FEWEST_BITS, le=MOST_BITS, description="the same of the sensitive layers; as many as bits: of all alike"
    )
    share: float = Field(0.5, gt=0, lt=1, description="share of the layers that are called sensitive, rounded up")
    embedding_bits: int = Field(
        8, ge=FEWEST_BITS, le=MOST_BITS, description="bits of a weight of the embedding tables and of the head's maps"
    )
    momentum: float = Field(
        0.99, ge=0, lt=1, description="how much of the largest input so far stays in each step; the first step sets it"
    )
    rows: int = Field(320, ge=1, description="rows of the training split that sensitivity is estimated on, by batches")

    @property
    def label(self) -> str:
        more = "" if self.sensitive_bits == self.bits else f" and {self.sensitive_bits}"
        return f"{worded(self.name)}, {self.bits}{more} bits, {self.embedding_bits} in embeddings"


@register
class QBert(RoundedTraining):
    """Train under few bits for each weight, more in layers of which the loss bends more, and 8 for each input."""

    name = "q-bert"
    Settings = QBertSettings
    example = {"bits": 2, "rows": 8}  # noqa: RUF012  (never written to)
    rounds = True

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if settings.sensitive_bits < settings.bits:
            raise TrimformerError(
                f"sensitive_bits={settings.sensitive_bits} is fewer than bits={settings.bits}, but sensitive layers "
                "need more: raise it, or set both alike."
            )
        with torch.device("meta"):
            if not maps_of(TrimformerModel(config).layers):
                raise TrimformerError(
                    "The layers of this encoder have no linear maps that q-bert could round: round-to-nearest rounds "
                    "its other matrices."
                )

    def put(self, settings: Any, context: Context) -> dict[str, RoundedInput]:
        self.check(settings, context.model.config)
        weights = weights_of_layers(context.model)
        self.sensitivity: dict[str, float] = {}
        if settings.sensitive_bits > settings.bits:
            found = sensitivities(context, [*weights.values()], settings.rows)
            self.sensitivity = dict(zip(weights, found, strict=True))
        most = sorted(self.sensitivity, key=lambda layer: -self.sensitivity[layer])
        first = most[: math.ceil(settings.share * len(most))]
        self.bits = {layer: settings.sensitive_bits if layer in first else settings.bits for layer in weights}

        def rounding(name: str) -> GroupedWeight:
            layer = layer_of(name)
            return GroupedWeight(settings.embedding_bits if layer is None else self.bits[layer])

        round_weights(context.model, rounding)
        return round_inputs(context.model, settings.momentum)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"bits": self.bits, "sensitivity": self.sensitivity}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.bits, self.sensitivity = state["bits"], state["sensitivity"]
        for name, module in text_maps(self.model):
            if (layer := layer_of(name)) in self.bits:
                rounding: Any = module.get_submodule("parametrizations.weight.0")
                rounding.bits = self.bits[layer]

    def notes(self) -> list[str]:
        """What has how many bits and why, and what that saves."""
        notes = []
        if self.sensitivity:
            listed = ", ".join(f"{layer} ({value:.3g}) {self.bits[layer]}" for layer, value in self.sensitivity.items())
            notes.append(
                "The layers have these bits for a weight, by the sensitivity in brackets, which is the size of the "
                f"Hessian's largest eigenvalue: {listed}."
            )
        return [*notes, SAME_TIME]


def weights_of_layers(model: TrimformerWithHead) -> dict[str, list[Tensor]]:
    """The weights of the linear maps of each layer, by its number; a map that layers share counts for the first."""
    found: dict[str, list[Tensor]] = {}
    for name, module in text_maps(model):
        if (layer := layer_of(name)) is not None:
            found.setdefault(layer, []).append(module.weight)
    return found


def layer_of(name: str) -> str | None:
    """The number of the layer that a map of this name is in; None: it is in none."""
    found = LAYER_NAME.match(name)
    return None if found is None else found[2]
