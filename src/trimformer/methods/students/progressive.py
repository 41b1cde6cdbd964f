"""Progressive transfer: layers are trained one after another, each on what the teacher's layer gives.

Sun, Yu, Song, Liu, Yang and Zhou, "MobileBERT", 2020, section 3: while a layer learns the feature maps and the
attention of its teacher, the layers below it are frozen, or are trained at a small rate, so that it learns from inputs
that hold still and hands no error of its own down to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import Context, MethodSettings, StudentMethod, register


class ProgressiveSettings(MethodSettings):
    """Settings of progressive transfer."""

    name: Literal["progressive"] = "progressive"
    below: float = Field(
        0.0, ge=0, le=1, description="share of the learning rate that layers have which were trained before; 0: none"
    )


@register
class Progressive(StudentMethod):
    """Train the layers one after another; those above the one that learns are not computed.

    Terms that compare layer by layer compare the one that learns; all others see the model as if it ended there.
    taught: the layers that are trained in turn, each together with those behind the one before it. They are all, or
    those that such a term compares, if there is one.
    """

    name = "progressive"
    Settings = ProgressiveSettings
    decides = False

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.step, self.turn = 0, -1
        self.pairs = {term: term.pairs for term in self.objective.distances if term.pairs}
        compared = {layer for pairs in self.pairs.values() for layer, _ in pairs}
        self.taught = sorted(compared) or list(range(self.layers))
        if context.steps < len(self.taught):
            raise TrimformerError(
                f"{len(self.taught)} layers learn one after another and need a step each, but the stage has "
                f"{context.steps}: raise epochs, or lower batch_size."
            )

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if config.sharing is not None:
            raise TrimformerError(
                "The layers of this encoder share their weights, so that none can be trained by itself: take the "
                "method finetune."
            )

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        self._take_turns()
        layer = self.taught[self.turn]
        gates = Gates(layers=torch.tensor([float(index <= layer) for index in range(self.layers)]))
        return {"loss": self.learn(batch, share, gates), "layer": layer}

    def update(self, step: int) -> dict[str, float]:
        slow: list[Tensor] = (
            [weight for module in self._below() for weight in module.parameters()] if self.settings.below else []
        )
        before = [weight.detach().clone() for weight in slow]
        logged = super().update(step)
        if slow:  # AdamW moves a weight in proportion to the learning rate
            with torch.no_grad():
                torch._foreach_lerp_(slow, before, 1 - self.settings.below)
        self.step = step
        return logged

    def _take_turns(self) -> None:
        """Let the next layer learn where it is time for it."""
        turn = min(self._turns(self.step), len(self.taught) - 1)
        if turn == self.turn:
            return
        self.turn = turn
        for term, pairs in self.pairs.items():
            term.pairs = [pair for pair in pairs if pair[0] == self.taught[turn]]
        if turn and not self.settings.below:
            self.model.encoder.freeze(self.taught[turn - 1] + 1)

    def _turns(self, steps: int) -> int:
        """How many turns are over after so many steps."""
        return steps * len(self.taught) // self.context.steps

    def _below(self) -> list[nn.Module]:
        """What was trained in earlier turns."""
        encoder: Any = self.model.encoder
        if not self.turn:
            return []
        return [encoder.embeddings, encoder.positions, *encoder.layers[: self.taught[self.turn - 1] + 1]]

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.step = state["step"]

    def notes(self) -> list[str]:
        begun = self._turns(self.step - 1) + 1
        had, left = (", ".join(map(str, layers)) for layers in (self.taught[:begun], self.taught[begun:]))
        below = "were frozen" if not self.settings.below else f"had {self.settings.below:g} of the learning rate"
        said = f"the layers {had} were trained one after another, in {self.step} steps; those below {below}."
        return [f"{said} The training ended before the turn of the layers {left}." if left else said]
