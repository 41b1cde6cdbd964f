"""How important is each position of attention? A factor for each is trained together with the weights.

Shi et al., "SparseBERT: Rethinking the Importance Analysis in Self-attention", 2021: P_ij = σ(α_ij) multiplies what
query i takes from key j. The α take their steps beside the weights, on the same loss (one level), as the masks of the
release.

A query's attention weights are brought to a sum of 1 after the multiplication. All P start at 0.5, and so a checkpoint
starts as it is, where it would else start with half of its attention. What counts is P beside the other keys of the
same query.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ...encoder.gating.trim import trim
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import Context, MethodSettings, StudentMethod, register
from ..result import Result
from .findings import ImportanceMap, PositionImportance, group_means, position_groups
from .masks import seeing_all
from .rate import own_rate

LOOKED_AT = 500
"""Rows in which special tokens are looked for."""


class PositionImportanceSettings(MethodSettings):
    """Settings of the study of positions."""

    name: Literal["position-importance"] = "position-importance"
    per_layer: bool = Field(False, description="each layer has factors of its own; else all layers share them")
    factor_learning_rate: float | None = Field(
        None, gt=0, description="of the α, constant; none: 10 / steps of the stage, at least 0.01"
    )


class Factors(nn.Module):
    """σ(α) for each position: (sets, length, length); α starts at 0."""

    def __init__(self, sets: int, length: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(sets, length, length))

    def forward(self, n: int) -> Tensor:
        """Those of texts of n tokens, (sets, n, n)."""
        return torch.sigmoid(self.logits[:, :n, :n])


@register
class PositionImportanceStudy(StudentMethod):
    """Learn how much each position of attention counts; nothing is removed."""

    name = "position-importance"
    Settings = PositionImportanceSettings
    takes_split = False
    decides = False

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.studied = seeing_all(context.model.config)
        lengths = np.asarray(context.learned.lengths)
        self.length = int(np.median(lengths))  # what few texts reach says little
        self.special = self._special_places()
        self.factors = Factors(len(self.studied) if settings.per_layer else 1, int(lengths.max()))
        rate = own_rate(settings.factor_learning_rate, context.steps)
        self.networks["factors"] = context.network(
            "factors", self.factors, learning_rate=rate, schedule=False, decay=False
        )
        self.groups = position_groups(self.length, self.special)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if not seeing_all(config):
            raise TrimformerError(
                "No layer of this encoder attends to all tokens: there are no positions to study. A layer with a "
                "window or a pattern is left out, because nothing is learned of what it does not see."
            )

    def _special_places(self) -> list[int]:
        """The places at which most texts that are long enough have a special token of the tokenizer."""
        tokenizer = self.context.tokenizer
        assert tokenizer is not None, "a stage has the tokenizer of its model"
        names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id")
        ids = torch.tensor([own for name in names if (own := getattr(tokenizer, name)) is not None])
        there, special = torch.zeros(self.length), torch.zeros(self.length)
        for batch in self.context.sample(self.context.selection, LOOKED_AT):
            n = min(self.length, batch["input_ids"].shape[1])
            there[:n] += batch["attention_mask"][:, :n].sum(0).cpu()
            special[:n] += torch.isin(batch["input_ids"][:, :n].cpu(), ids).sum(0)
        places: list[int] = (special > there / 2).nonzero().flatten().tolist()
        return places

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        factors = self.networks["factors"](batch["input_ids"].shape[1])
        return {"loss": self.learn(batch, share, self.gates(factors))}

    def gates(self, factors: Tensor) -> Gates:
        """Those of the layers that are studied."""
        given: list[Tensor | None] = [None] * self.layers
        for place, index in enumerate(self.studied):
            given[index] = factors[place if self.settings.per_layer else 0][None, None]
        return Gates(contributions=given)

    def update(self, step: int) -> dict[str, float]:
        super().update(step)
        self.networks["factors"].step()
        values = self.importance()
        means = {name: values[:, kind].mean(1).tolist() for name, kind in self.groups.items() if kind.any()}
        for name, own in means.items():
            self.history.add(f"importance: {name}", step, own if self.settings.per_layer else own[0])
        return {name: sum(own) / len(own) for name, own in means.items() if name == "diagonal"}

    @torch.no_grad()
    def importance(self) -> Tensor:
        """P of the positions that most texts reach, (sets, length, length), on the CPU."""
        found: Tensor = self.factors(self.length).cpu()
        return found

    def decide(self) -> Gates:
        return Gates(attention=torch.ones(self.layers))

    def result(self) -> Result:
        """The weights as they are, without the factors."""
        return Result(trim(self.model, self.decide()).cpu(), notes=self.notes(), positions=self.found())

    def found(self) -> PositionImportance:
        """The importance of each position, and its mean over each kind of positions."""
        layers: list[Any] = self.studied if self.settings.per_layer else [None]
        maps = [
            ImportanceMap(
                layer=layer,
                values=[[round(value, 4) for value in row] for row in values.tolist()],
                groups=group_means(values, self.special, self.context.seed),
            )
            for layer, values in zip(layers, self.importance(), strict=True)
        ]
        return PositionImportance(length=self.length, special=self.special, maps=maps)

    def notes(self) -> list[str]:
        found = []
        for one in self.found().maps:
            whose = "" if one.layer is None else f" in layer {one.layer}"
            means = ", ".join(f"{own.name} {own.mean:.3f} ({own.low:.3f} to {own.high:.3f})" for own in one.groups)
            found.append(f"the mean importance of positions{whose} with its 95 % interval over positions: {means}.")
        if left_out := [index for index in range(self.layers) if index not in self.studied]:
            found.append(
                f"the layers {', '.join(map(str, left_out))} do not attend to all tokens, and are not studied."
            )
        found.append("the model has no factors of positions any more: it is scored as it is without them.")
        return found
