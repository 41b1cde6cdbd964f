"""Whole layers are dropped, chosen by a rule (Sajjad, Dalvi, Durrani and Nakov, "Poor Man's BERT", 2020)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...encoder.gating.limits import limits
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...training.evaluate import evaluating
from ..base import Context, Method, MethodSettings, register, worded
from ..expected import shape_after


class DepthSettings(MethodSettings):
    """Settings of depth."""

    name: Literal["depth"] = "depth"
    keep: int = Field(ge=1, description="whole layers that stay")
    strategy: Literal["top", "bottom", "alternate", "symmetric", "contribution"] = Field(
        "top", description="which layers are dropped"
    )
    rows: int = Field(1000, ge=1, description="rows of the training split that contribution is measured on")

    @property
    def label(self) -> str:
        return worded(self.name, keep=self.keep)


@register
class Depth(Method):
    """Drop whole layers by a rule."""

    name = "depth"
    Settings = DepthSettings
    example = {"keep": 2}  # noqa: RUF012  (never written to)
    trains = False

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.similarity: list[float] = []

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        why = limits(config).first_stays
        if settings.strategy == "bottom" and why is not None and settings.keep < config.num_hidden_layers:
            raise TrimformerError(
                f"The first layer of this encoder cannot be removed because {why}: choose another strategy than bottom."
            )

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        layers = super().after(settings, config).num_hidden_layers
        return shape_after(config, layer_gates(layers, by_rule(settings.strategy, layers, settings.keep)))

    def decide(self) -> Gates:
        strategy, keep = self.settings.strategy, self.settings.keep
        contribution = strategy == "contribution"
        kept = self.most_contributing(keep) if contribution else by_rule(strategy, self.layers, keep)
        return layer_gates(self.layers, kept)

    def most_contributing(self, keep: int) -> list[int]:
        """The layers whose input and output are least alike, of equals the first ones."""
        self.similarity = self.similarities()
        order = sorted(range(self.layers), key=self.similarity.__getitem__)
        if limits(self.model.config).first_stays is not None:
            order = [0, *(index for index in order if index)]
        return sorted(order[:keep])

    def similarities(self) -> list[float]:
        """For each layer the mean over texts of the cosine of the first token's vector before and after it."""
        model, found = self.model.to(self.context.accelerator.device), []
        with torch.no_grad(), evaluating(model):
            for batch in self.context.sample(self.context.train, self.settings.rows):
                del batch["labels"]
                found.append(cosines(model(**batch, output_hidden_states=True).hidden_states))
        similarity: list[float] = torch.cat(found, 1).mean(1).tolist()
        return similarity

    def notes(self) -> list[str]:
        if not self.similarity:
            return []
        listed = ", ".join(f"{index} {value:.3f}" for index, value in enumerate(self.similarity))
        return [f"The cosine of the first token's vector before and after each layer is: {listed}."]


def cosines(trace: tuple[Tensor, ...]) -> Tensor:
    """Cosines of the first token before and after each layer, from the hidden states of a pass: (layers, batch)."""
    first = torch.stack([x[:, 0].float() for x in trace])
    return F.cosine_similarity(first[:-1], first[1:], dim=-1)


def by_rule(strategy: str, layers: int, keep: int) -> list[int]:
    """The layers that stay; ``contribution``, which has to be measured, leaves as many as any other."""
    match strategy:
        case "bottom":
            return list(range(layers - keep, layers))
        case "alternate":
            return alternate(layers, keep)
        case "symmetric":
            return symmetric(layers, keep)
        case _:
            return list(range(keep))


def alternate(layers: int, keep: int) -> list[int]:
    """Every other layer goes, from the top; where that is not enough, every other one of the rest, and so on."""
    kept = list(range(layers))
    while len(kept) > keep:
        going = kept[1::2][::-1][: len(kept) - keep]
        kept = [index for index in kept if index not in going]
    return kept


def symmetric(layers: int, keep: int) -> list[int]:
    """The middle goes; of an odd number of layers that stay one more is below it."""
    above = keep // 2
    return [*range(keep - above), *range(layers - above, layers)]


def layer_gates(layers: int, kept: list[int]) -> Gates:
    """Hard gates that keep these layers whole and drop the others."""
    return Gates(layers=torch.tensor([float(index in kept) for index in range(layers)]))
