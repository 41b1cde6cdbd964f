"""DARTS over what mixes the tokens in each layer: kinds of attention run side by side, and their shares are learned.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", 2019. A layer gives Σ softmax(α)_k kind_k(x) over
its candidates, each of which starts as what the pre-trained layer becomes and has weights of its own. In turn the α
take a step on rows that are held out, and the weights one on the others. The cost is drawn to a target as in TAS
(``architecture/target.py``). In the end each layer keeps one kind, with the weights that it has got in the mixture.

Where the published method is left: the α learn faster in a shorter stage and have no decay; their passes have no
dropout, whose chance the second order would divide by ε; and the kinds with the largest shares are chosen among those
choices that meet the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...measure.cost import Kinds
from ...training.settings import ObjectiveSettings
from ..base import Context, Standard, register
from ..result import Result
from .alternating import Choosing, ChoosingSettings
from .mixture import Mixture, candidates, mix, unmixed


class DartsSettings(ChoosingSettings):
    """Settings of DARTS."""

    name: Literal["darts"] = "darts"
    kinds: list[str] | None = Field(
        None, min_length=1, description="what may stand in for a layer's attention; none: every kind that can"
    )
    order: Literal["first", "second"] = Field(
        "first", description="second: the step of the weights that follows counts in the gradient of the α, too"
    )
    initial_keep: float | None = Field(
        None, gt=0, lt=1, description="share of a layer's own attention at the start; none: as large as the others'"
    )


@register
class Darts(Choosing):
    """Learn what mixes the tokens in each layer, between all kinds of attention that it can have."""

    name = "darts"
    Settings = DartsSettings
    example = {"target": 0.6, "order": "second", "held_out": 0.1}  # noqa: RUF012  (never written to)
    standard = Standard(objective=ObjectiveSettings(logits=1.0))

    def __init__(self, settings: Any, context: Context) -> None:
        self.check(settings, context.model.config)
        self.candidates = candidates(context.model.config, settings.kinds)
        context = self.begin(settings, context)
        mix(context.model, self.candidates)
        super().__init__(settings, context, [len(own) for own in self.candidates], settings.initial_keep)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        found = candidates(config, settings.kinds)
        if all(len(own) == 1 for own in found):
            raise TrimformerError("No layer of this encoder can have any of these kinds beside its own: name others.")
        twice = any(len({shape.attention for shape in own.values()}) < len(own) for own in found)
        if config.sharing is not None and twice:
            raise TrimformerError(
                "The layers of this encoder share their weights, so that they can have one size of a kind: name each "
                "kind once."
            )

    def gates(self) -> Gates:
        return Mixture(self.alphas())

    def rate(self) -> float:
        return float(self.networks["model"].scheduler.get_last_lr()[0]) if self.settings.order == "second" else 0.0

    def expected(self, shares: Sequence[Tensor]) -> Tensor:
        every = zip(self.candidates, shares, strict=True)
        kinds: Kinds = [list(zip(own.values(), share, strict=True)) for own, share in every]
        return self.aim.cost.share(Gates(), kinds)

    def record(self, step: int) -> None:
        every = zip(self.candidates, self.alphas.shares(), strict=True)
        named = [dict(zip(own, share.tolist(), strict=True)) for own, share in every]
        for name in dict.fromkeys(name for own in self.candidates for name in own):
            self.history.add(f"share of {name}", step, [own.get(name, 0.0) for own in named])

    def decide(self) -> Gates:
        """What is chosen in each layer, with a share of 1."""
        return Mixture(self.hard(self.choice()))

    def names(self) -> list[str]:
        """The kinds that are chosen."""
        return [list(own)[index] for own, index in zip(self.candidates, self.choice(), strict=True)]

    def result(self) -> Result:
        return Result(unmixed(self.model, self.names()).cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        listed = ", ".join(f"{index}: {name}" for index, name in enumerate(self.names()))
        return [f"the layers have these kinds of attention: {listed}.", *super().notes()]
