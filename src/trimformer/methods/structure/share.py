"""Neighbouring layers share their weights from now on: one set of weights takes the place of several.

Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", 2020, section 3.1, train an
encoder whose layers share all weights from the start. Here the layers of an encoder that is trained already are merged,
and a fine-tuning follows.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ..base import DISTILLED, Method, MethodSettings, Standard, register
from ..result import Result


class ShareSettings(MethodSettings):
    """Settings of share."""

    name: Literal["share"] = "share"
    groups: int = Field(1, ge=1, description="groups of neighbouring layers, as many in each as can be")
    weights: Literal["mean", "first"] = Field(
        "mean", description="what a group starts with: the mean of its layers, or the weights of the first one"
    )

    @property
    def label(self) -> str:
        return f"share, {self.groups} {'group' if self.groups == 1 else 'groups'}"


@register
class Share(Method):
    """Layers of a group get the same weights; what mixes the tokens in each stays."""

    name = "share"
    Settings = ShareSettings
    trains = False
    standard = Standard(stage="share", objective=DISTILLED)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        layers = config.num_hidden_layers
        if config.sharing is not None:
            raise TrimformerError("The layers of this encoder share their weights already: leave out this stage.")
        if settings.groups >= layers:
            raise TrimformerError(
                f"groups={settings.groups} is out of range: of {layers} layers at most {layers - 1} groups have two "
                "that can share."
            )

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        sharing = first_of_groups(super().after(settings, config).num_hidden_layers, settings.groups)
        # What belongs to the weights that were there before is left out.
        changes = {"sharing": sharing, "input_ranges": None, "nested": None}
        try:
            return type(config).from_dict(config.to_dict() | changes)
        except TrimformerError as error:
            raise TrimformerError(
                f"The layers of this encoder differ, so that they cannot share their weights in {settings.groups} "
                "groups: share before parts of single layers are removed, or ask for groups of layers that are alike."
            ) from error

    def result(self) -> Result:
        """The model with one set of weights for each group."""
        config = self.after(self.settings, self.model.config)
        model = merged(self.model, config, self.settings.weights)
        before, after = (
            sum(weight.numel() for weight in one.encoder.layers.parameters()) for one in (self.model, model)
        )
        layers = config.num_hidden_layers
        return Result(
            model,
            notes=[
                f"The {layers} layers have the weights of {self.settings.groups}: {after:,} of {before:,} are left. "
                "They are computed as before, so that a smaller file is all that is saved."
            ],
        )


def first_of_groups(layers: int, groups: int) -> list[int]:
    """For each layer the first one of its group; groups of neighbours are as large as each other, or one larger."""
    group = [index * groups // layers for index in range(layers)]
    return [group.index(own) for own in group]


def merged(
    model: TrimformerWithHead, config: TrimformerConfig, weights: Literal["mean", "first"]
) -> TrimformerWithHead:
    """A copy, on the CPU, with this sharing. A weight that only some layers of a group have is merged of these."""
    made: TrimformerWithHead = type(model)(config)
    given = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
    owners: dict[int, list[str]] = {}
    for name, weight in made.named_parameters(remove_duplicate=False):
        owners.setdefault(id(weight), []).append(name)
    for names in owners.values():
        start = given[names[0]]
        if weights == "mean":
            start = _mean([given[name] for name in names]).to(start.dtype)
        given |= dict.fromkeys(names, start)
    made.load_state_dict(given)
    return made.train(model.training)


def _mean(weights: list[Tensor]) -> Tensor:
    return torch.stack([weight.double() for weight in weights]).mean(0)
