"""Token elimination: each layer learns how many tokens the next ones need (PoWER-BERT).

Goyal, Choudhury, Raje, Chakaravarthy, Sabharwal and Verma, "PoWER-BERT: Accelerating BERT Inference via Progressive
Word-vector Elimination", 2020. Between attention and feed-forward block the tokens of a layer are ranked by how much
the others look at them, and that of rank k is multiplied by r[k], which is learned with the weights and is drawn to 0.
The sum over r says how many tokens the layer hands on from then on; a fine-tuning follows.

Where the published method is left: texts are not padded to one length, so that what a layer hands on is a share of a
text's own tokens, and a rank is read as a share, too. With a target the penalty is the pull of the expected operations
towards it (``methods/architecture/target.py``), and the shares that are left are brought to it by one factor.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...encoder.gating.keep import kept_by
from ...encoder.gating.trim import rebuilt
from ...encoder.parts.elimination import eliminates, handed_on
from ...encoder.shape.config import SHARES, TrimformerConfig
from ...encoder.shape.embedding import EmbeddingShape
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import ATTENTION
from ...errors import TrimformerError
from ...measure.cost import expected_flops
from ...training.settings import ObjectiveSettings
from ..architecture.target import cost_loss
from ..base import Context, MethodSettings, Standard, StudentMethod, register
from ..result import Result

PUBLISHED_RATE = 3e-3
TRAVEL = 3
"""How often a retention can go from 1 to 0 in a stage."""
PULL = 2.0
"""Weight of the logarithm of the operations in the loss, where there is a target."""
TOLERANCE = 0.02
"""Share of the target by which the operations may be off it while the loss alone decides."""
DISTILLED = ObjectiveSettings(logits=1.0)
"""Hidden states cannot be compared, because tokens are missing in them."""


class PowerBertSettings(MethodSettings):
    """Settings of PoWER-BERT."""

    name: Literal["power-bert"] = "power-bert"
    penalty: float = Field(
        1e-3, gt=0, description="λ: weight in the loss of what the layers keep, where there is no target"
    )
    target: float | None = Field(
        None, gt=0, lt=1, description="share of the layers' operations that is aimed at; none: the penalty decides"
    )
    retention_learning_rate: float | None = Field(
        None, gt=0, description="of what the layers keep; none: 3 / steps of the stage, at least 0.003"
    )

    @property
    def label(self) -> str:
        aim = f"penalty {self.penalty:g}" if self.target is None else f"target {self.target:g}"
        return f"{self.name}, {aim}"


class Retention(nn.Module):
    """For each layer that can hand on fewer tokens r, (m,), from the rank that counts most on; 1 at the start."""

    def __init__(self, layers: int, able: Sequence[int], size: int) -> None:
        super().__init__()
        self.layers = layers
        self.values = nn.ParameterDict({str(index): nn.Parameter(torch.ones(size)) for index in able})

    def forward(self) -> list[Tensor | None]:
        """r of each layer, None where there is none."""
        given = dict(self.values.items())
        return [given.get(str(index)) for index in range(self.layers)]

    @torch.no_grad()
    def clip(self) -> None:
        for given in self.values.values():
            given.clamp_(0, 1)

    @property
    def shares(self) -> dict[int, float]:
        """The share of its tokens that each layer keeps, none more than one before it (section 3.4)."""
        means = [given.detach().double().mean().item() for given in self.values.values()]
        return dict(zip(map(int, self.values), itertools.accumulate(means, min), strict=True))


@register
class PowerBert(StudentMethod):
    """Soft extraction while training; the model that is left hands on the tokens that it needs."""

    name = "power-bert"
    Settings = PowerBertSettings
    kinds = ("classification", "multilabel", "regression", "ranking", "embedding")
    standard = Standard(objective=DISTILLED, repair=DISTILLED)

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.config = context.model.config
        self.length = round(float(context.train.lengths.mean()))
        self.dense = expected_flops(self.config, self.length, Gates()).item()
        self.retention = Retention(self.layers, able(self.config), int(context.train.lengths.max()))
        rate = settings.retention_learning_rate or max(PUBLISHED_RATE, TRAVEL / context.steps)
        own: dict[str, Any] = {"learning_rate": rate, "schedule": False, "decay": False}
        self.networks["retention"] = context.network("retention", self.retention, **own)
        least = self.cost_of(dict.fromkeys(able(self.config), 1 / SHARES))
        if settings.target is not None and least >= settings.target:
            raise TrimformerError(
                f"A target of {settings.target:g} is out of reach: {least:.3f} of the layers' operations stay where "
                "all tokens but one go; raise target."
            )

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        pooling = EmbeddingShape.read(config.embedding).pooling if config.embedding else config.classifier_pooling
        if pooling != "cls":
            raise TrimformerError(
                f"power-bert needs a head that reads the first token alone, and this one reads others ({pooling}), "
                "which would be missing: choose another method."
            )
        if eliminates(config):
            raise TrimformerError("Layers of this model hand on fewer tokens already: leave the stage power-bert out.")
        if not able(config):
            raise TrimformerError(
                "No layer of this model attends before the last one that mixes the tokens, so that none can hand on "
                "fewer: leave the stage power-bert out."
            )

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        """With any number of tokens, because it is only learned."""
        cls.check(settings, config)
        shapes = list(config.shapes)
        for index in able(config):
            shapes[index] = dataclasses.replace(shapes[index], tokens=config.max_tokens)
        return config.with_shapes(shapes)

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        with self.clock("step"):
            kept = self.networks["retention"]()
            loss = self.objective(self.networks["model"], batch, Gates(tokens=kept))
            self.networks["model"].backward(loss + self.penalty(kept).to(loss.device), share)
        return {"loss": loss.item()}

    def penalty(self, kept: Sequence[Tensor | None]) -> Tensor:
        """λ Σ_l l Σ_k r_l[k], layers counted from 1; or the pull of the operations towards the target."""
        target = self.settings.target
        if target is None:
            sums = [number * own.sum() for number, own in enumerate(kept, start=1) if own is not None]
            return self.settings.penalty * torch.stack(sums).sum()
        expected = expected_flops(self.config, self.length, Gates(tokens=kept)) / self.dense
        return PULL * cost_loss(expected, expected.item(), target, TOLERANCE)

    def update(self, step: int) -> dict[str, float]:
        super().update(step)
        self.networks["retention"].step()
        self.retention.clip()
        shares = self.retention.shares
        self.history.add("tokens_kept", step, [shares.get(index, 1.0) for index in range(self.layers)])
        return {"cost": self.cost_of(shares)}

    def left(self, shares: Mapping[int, float]) -> TrimformerConfig:
        """The configuration whose layers keep these shares, rounded down."""
        shapes = list(self.config.shapes)
        for index, share in shares.items():
            shapes[index] = dataclasses.replace(shapes[index], tokens=max(1, int(share * SHARES)) / SHARES)
        return self.config.with_shapes(shapes)

    def cost_of(self, shares: Mapping[int, float]) -> float:
        """The share of the layers' operations that stays."""
        return expected_flops(self.left(shares), self.length, Gates()).item() / self.dense

    def chosen(self) -> dict[int, float]:
        """What the layers keep in the end: with a target the learned shares times the factor that comes nearest."""
        shares, target = self.retention.shares, self.settings.target
        if target is None:
            return shares

        def times(factor: float) -> dict[int, float]:
            return {index: min(1.0, factor * share) for index, share in shares.items()}

        low, high = 0.0, 1 / max(1 / SHARES, min(shares.values()))
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self.cost_of(times(middle)) > target else (middle, high)
        return times(low)

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def result(self) -> Result:
        model = rebuilt(self.model, kept_by(Gates(), self.left(self.chosen())))
        return Result(model.cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        config = self.left(self.chosen())
        kept = [shape.tokens for shape in config.shapes]
        numbers = [left for _, left in handed_on(kept, self.length)]
        each = ", ".join(
            f"layer {index} {numbers[index]}" + ("" if own is None else f" ({own:.1%})")
            for index, own in enumerate(kept)
            if index in able(self.config)
        )
        aim = "" if self.settings.target is None else f" (target {self.settings.target:g})"
        return [
            f"Of a text of {self.length} tokens, the mean of the training texts, so many are handed on: {each}. "
            f"{self.cost_of(self.chosen()):.3f} of the layers' operations stay{aim}."
        ]


def able(config: TrimformerConfig) -> list[int]:
    """The layers that can hand on fewer tokens: those that attend before the last one that mixes the tokens."""
    before = config.shapes[: max(0, config.last_mixing)]
    return [index for index, shape in enumerate(before) if ATTENTION[shape.attention].attends]
