"""BERT-of-Theseus: groups of layers are replaced at random by single ones, more and more often, until these are alone.

Xu, Zhou, Ge, Wei and Zhou, "BERT-of-Theseus: Compressing BERT by Progressive Module Replacing", 2020. In each batch
every group gives way to its successor with the probability p_t = min(1, k t + b). Only successors are trained: the
predecessor's layers, the embeddings and the head stay as they are, and no loss is needed but that of the task. Once p
is 1 the successors are fine-tuned together.

Where the published code is left: the slope k is given by the share of the steps at which p is 1, and the groups may
differ in size, so that their number need not divide that of the layers.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from accelerate.utils import broadcast
from pydantic import Field
from torch import Tensor, nn

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.tokens import Tokens
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates, LayerGates, hard_value
from ...errors import TrimformerError
from ...training.settings import ObjectiveSettings
from ..base import Context, MethodSettings, Standard, StudentMethod, register, worded
from ..expected import shape_after
from ..structure.depth import layer_gates


class TheseusSettings(MethodSettings):
    """Settings of BERT-of-Theseus."""

    name: Literal["theseus"] = "theseus"
    keep: int = Field(ge=1, description="layers of the successor, each of which replaces a group of layers")
    successors: Literal["first", "even"] = Field(
        "first", description="the layers that they start as: the first ones, as published, or the first of each group"
    )
    rate: float = Field(0.3, ge=0, le=1, description="probability that a group is replaced in the first step")
    full_at: float | None = Field(
        0.5, gt=0, le=1, description="share of the steps at which it has risen to 1; none: it stays as it is"
    )

    @property
    def label(self) -> str:
        return worded(self.name, keep=self.keep)


class Replaceable(nn.Module):
    """A layer of the successor and the group of layers that it replaces.

    Its layer gate says which of them runs: the successor (1), as without a gate, or the group (0).
    """

    def __init__(self, successor: Any, group: Sequence[nn.Module]) -> None:
        super().__init__()
        self.successor, self.group = successor, nn.ModuleList(group)

    @property
    def attention(self) -> nn.Module:
        """That of the successor, which leaves no trace where the group runs."""
        found: nn.Module = self.successor.attention
        return found

    def forward(self, x: Tensor, tokens: Tokens, gates: LayerGates | None = None) -> tuple[Tensor, Tokens]:
        if gates is None or hard_value(gates.layers) != 0:
            successor: tuple[Tensor, Tokens] = self.successor(x, tokens, gates)
            return successor
        asked, tokens = tokens.asked, tokens.ask(None)  # all but the last layer hand on all tokens
        for layer in self.group[:-1]:
            x, tokens = layer(x, tokens)
        last: tuple[Tensor, Tokens] = self.group[-1](x, tokens.ask(asked))
        return last


@register
class Theseus(StudentMethod):
    """Train single layers inside the encoder whose groups of layers they replace in the end."""

    name = "theseus"
    Settings = TheseusSettings
    takes_split = False
    example = {"keep": 2}  # noqa: RUF012  (never written to)
    standard = Standard(stage="replace", repair=ObjectiveSettings())

    def __init__(self, settings: Any, context: Context) -> None:
        self.check(settings, context.model.config)
        self.whole, self.step = context.model, 0
        super().__init__(settings, dataclasses.replace(context, model=replaceable(settings, context.model)))

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if settings.rate == 0 and settings.full_at is None:
            raise TrimformerError("With rate=0 and without full_at no layer is ever replaced: raise rate.")

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        return shape_after(super().after(settings, config), kept(settings, config.num_hidden_layers))

    @property
    def model(self) -> TrimformerWithHead:
        """The encoder that it started from, with the successors in the places of the layers that they started as."""
        return self.whole

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        # All processes replace the same groups, because a step without any successor leaves nothing to exchange.
        drawn = torch.bernoulli(torch.full((self.layers,), self.probability()))
        replaced = broadcast(drawn.to(self.context.accelerator.device)).cpu()
        if not replaced.any():
            return {"replaced": 0}
        return {"loss": self.learn(batch, share, Gates(layers=replaced)), "replaced": replaced.sum().item()}

    def update(self, step: int) -> dict[str, float]:
        self.step = step
        return super().update(step)

    def probability(self) -> float:
        """p_t, t being the steps that are done."""
        rate, full_at = self.settings.rate, self.settings.full_at
        if full_at is None:
            return float(rate)
        return float(min(1.0, rate + (1 - rate) * self.step / (full_at * self.context.steps)))

    def decide(self) -> Gates:
        return kept(self.settings, self.whole.config.num_hidden_layers)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.step = state["step"]

    def notes(self) -> list[str]:
        layers, keep = self.whole.config.num_hidden_layers, self.settings.keep
        each = zip(starts(self.settings, layers), groups(layers, keep), strict=True)
        pairs = ", ".join(f"{start} for {_span(group)}" for start, group in each)
        return [f"these layers were copied and trained to replace groups of layers: {pairs}."]


def groups(layers: int, keep: int) -> list[range]:
    """The layers that each successor replaces; the groups' sizes differ by 1 at most."""
    return [range(index * layers // keep, (index + 1) * layers // keep) for index in range(keep)]


def starts(settings: Any, layers: int) -> list[int]:
    """The layers that the successors start as."""
    first = settings.successors == "first"
    return list(range(settings.keep)) if first else [group[0] for group in groups(layers, settings.keep)]


def kept(settings: Any, layers: int) -> Gates:
    """Hard gates that keep the successors in the places of the layers that they started as."""
    return layer_gates(layers, starts(settings, layers))


def replaceable(settings: Any, whole: TrimformerWithHead) -> TrimformerWithHead:
    """An encoder with the successor's shape whose layers can give way to groups of a copy of the given one's layers.

    The successors are the given model's own layers; nothing else of what is returned is trained.
    """
    model, layers = copy.deepcopy(whole).requires_grad_(False), whole.config.num_hidden_layers
    pairs = zip(starts(settings, layers), groups(layers, settings.keep), strict=True)
    model.encoder.layers = nn.ModuleList(
        Replaceable(whole.encoder.layers[start], [model.encoder.layers[index] for index in group])
        for start, group in pairs
    )
    model.config = shape_after(whole.config, kept(settings, layers))
    model.encoder.last_mixing = settings.keep - 1  # behind a successor that is the last to mix a group may still mix
    return model


def _span(group: range) -> str:
    return str(group[0]) if len(group) == 1 else f"{group[0]}–{group[-1]}"
