"""Hard-concrete gates on attention, heads, feed-forward blocks, their units and hidden dimensions (CoFi).

Xia, Zhong and Chen, "Structured Pruning Learns Compact and Accurate Models", 2022. Every part has a gate z that is
sampled anew in each step from a distribution with mass at 0 and at 1, and that has a gradient (Louizos, Welling and
Kingma, 2018). Gates and weights minimise the objective, while Lagrange multipliers, which ascend, hold the expected
cost at a target that falls from that of the dense model.

Where the published method is left: an attention layer can be replaced by its mean (AttendOut) instead of by nothing; a
removed feed-forward block leaves its output bias; all gates start near 1, because the few epochs of a fine-tuning are
too short to win back what gates of one half would lose at once; gates and multipliers learn faster in a shorter stage;
and the gates without chance cost what is aimed at, not only on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...encoder.gating.limits import limits
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates, PerLayer
from ...encoder.shape.kinds import StandIn
from ...encoder.shape.points import POINTS
from ...errors import TrimformerError
from ...training.settings import ObjectiveSettings
from ..base import Context, Standard, StudentMethod, register, worded
from .cost import CostSettings, ExpectedCost, check_cost

TEMPERATURE = 2 / 3
LOW, HIGH = -0.1, 1.1
LIMIT = math.log(100)
SHARPNESS = 0.8  # of the value that a kept gate has in the end
EPSILON = 1e-6
TRAVEL = 40
"""How far gates and multipliers get in a stage if they always go one way: four times the range of log α. With less the
multipliers rise too late, and the cost then falls far below its target."""
PUBLISHED_RATE = 0.01
SHIFT_TOLERANCE = 1e-4

Part = Literal["attention", "heads", "blocks", "units", "hidden"]
POINT: dict[Part, str] = {
    "attention": "attention", "heads": "heads", "blocks": "ffn", "units": "ffn", "hidden": "hidden",
}  # fmt: skip
"""The gate point of each part; that of a block is that of all its units."""
FINE = ("units", "hidden")
"""Parts of which each costs little."""
GROUP = 16
"""Units of a block stay in a multiple of it: a runtime needs as long for 1,430 in int8 as for 1,536."""
GROUPS = 16
"""The fewest groups that a block has to have for that."""


class HardConcreteSettings(CostSettings):
    """Settings of hard-concrete gates."""

    name: Literal["hard-concrete"] = "hard-concrete"
    target: float = Field(gt=0, lt=1, description="share of the cost of the dense layers that stays")
    parts: list[Part] = Field(
        ["attention", "heads", "blocks", "units", "hidden"],
        min_length=1,
        description="what has gates: attention layers, heads, feed-forward blocks, their units, hidden dimensions",
    )
    replace_by: StandIn = Field("mean", description="what an attention layer that is removed becomes")
    gate_learning_rate: float | None = Field(
        None, gt=0, description="of gates and multipliers, constant; none: 40 / steps of the stage, at least 0.01"
    )
    ramp: float = Field(0.5, gt=0, le=1, description="share of the steps in which the target falls to its value")

    @property
    def label(self) -> str:
        return worded(self.name, replace_by=self.replace_by)


def part_sizes(part: Part, config: TrimformerConfig) -> list[int]:
    """The gates of a part: one for each layer, or one tensor of them for each layer, or for the encoder."""
    if part in ("attention", "blocks"):
        return [config.num_hidden_layers]
    return [size[0] for size in POINTS[POINT[part]].sizes(config)]


class HardConcrete(nn.Module):
    """The gates: log α of each, by part; those of heads and units are one tensor for each layer."""

    def __init__(self, config: TrimformerConfig, parts: list[Part]) -> None:
        super().__init__()
        self.logits = nn.ModuleDict(
            {part: nn.ParameterList(torch.full((size,), LIMIT) for size in part_sizes(part, config)) for part in parts}
        )

    def forward(self) -> dict[str, list[Tensor]]:
        """A sample of all gates."""
        return {part: [sample(logits) for logits in given] for part, given in self._items()}

    def probabilities(self) -> dict[str, list[Tensor]]:
        """The probability of each gate that it is not 0; on the CPU, where costs are counted."""
        return {part: [keep_probability(logits.cpu()) for logits in given] for part, given in self._items()}

    @torch.no_grad()
    def final(self, coarse: float, fine: float) -> dict[str, list[Tensor]]:
        """Gates without chance: of each tensor as many are 0 as are expected were log α less by a shift.

        fine: that of units and hidden dimensions; coarse: of all others.
        """
        return {
            part: [settled(logits.cpu(), fine if part in FINE else coarse, part == "units") for logits in given]
            for part, given in self._items()
        }

    def nothing(self) -> dict[str, list[Tensor]]:
        """All gates off, on the CPU."""
        return {part: [torch.zeros(len(logits)) for logits in given] for part, given in self._items()}

    @torch.no_grad()
    def clamp(self) -> None:
        for _, given in self._items():
            for logits in given:
                logits.clamp_(-LIMIT, LIMIT)

    def _items(self) -> Any:
        return self.logits.items()


def sample(logits: Tensor) -> Tensor:
    """z = clip(1.2 σ((log u - log(1 - u) + log α) / β) - 0.1, 0, 1) for u uniform."""
    u = torch.rand_like(logits).clamp(EPSILON, 1 - EPSILON)
    s = torch.sigmoid((torch.log(u) - torch.log1p(-u) + logits) / TEMPERATURE)
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


def keep_probability(logits: Tensor) -> Tensor:
    """P(z > 0) = σ(log α - β log(0.1 / 1.1))."""
    return torch.sigmoid(logits - TEMPERATURE * math.log(-LOW / HIGH))


def group_of(units: int) -> int:
    """What the units of a block stay in a multiple of; 1 where there are few."""
    return GROUP if units >= GROUPS * GROUP else 1


def settled(logits: Tensor, shift: float, grouped: bool = False) -> Tensor:
    """The gates of one tensor in the end: zeros where log α is lowest, else σ(0.8 log α / β).

    As many stay as would be expected were log α less by ``shift``. grouped: in whole groups, where there are many.
    """
    group = group_of(len(logits)) if grouped else 1
    zeros = max(0, len(logits) - group * round(keep_probability(logits - shift).sum().item() / group))
    values = torch.sigmoid(SHARPNESS * logits / TEMPERATURE)
    values[torch.sort(logits, stable=True).indices[:zeros]] = 0
    return values


class Multipliers(nn.Module):
    """Lagrange multipliers of the distance to the target; they start at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(2))

    def forward(self, distance: Tensor) -> Tensor:
        """λ1 d + λ2 d²"""
        return self.values[0] * distance + self.values[1] * distance.square()


@register
class HardConcretePruning(StudentMethod):
    """Gates of all sizes learned together with the weights, towards a share of the dense cost."""

    name = "hard-concrete"
    Settings = HardConcreteSettings
    example = {"target": 0.5, "replace_by": "none"}  # noqa: RUF012  (never written to)
    # Hidden states would have to keep the width that the gates take.
    standard = Standard(objective=ObjectiveSettings(logits=1.0))

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.config = context.model.config
        self.cost = ExpectedCost(settings, context)
        self.gates = HardConcrete(self.config, settings.parts)
        rate = settings.gate_learning_rate or max(PUBLISHED_RATE, TRAVEL / context.steps)
        own: dict[str, Any] = {"learning_rate": rate, "schedule": False, "decay": False}
        self.networks["gates"] = context.network("gates", self.gates, **own)
        self.networks["multipliers"] = context.network("multipliers", Multipliers(), **own)
        self.step = 0
        least = self.cost.share(self.assemble(self.gates.nothing())).item()
        if least >= settings.target:
            raise TrimformerError(
                f"A target of {settings.target:g} is out of reach: without any of {', '.join(settings.parts)} "
                f"{least:.3f} of the {self.cost} stay; raise target or name more parts."
            )

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        check_cost(settings, config)
        if settings.cost == "ms" and "hidden" in settings.parts:
            raise TrimformerError(
                "The table of the device does not know hidden dimensions: with cost ms leave hidden out of parts."
            )
        for part in settings.parts:
            limits(config).require(POINT[part], f"leave {part} out of parts")
        if config.sharing is not None:
            raise TrimformerError(
                "Hard-concrete needs separate weights in each layer, but these layers share theirs: choose another "
                "method."
            )

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        with self.clock("step"):
            gates = self.assemble(self.networks["gates"]())
            loss = self.objective(self.networks["model"], batch, gates)
            kept = self.cost.share(self.assemble(self.gates.probabilities()))
            penalty = self.networks["multipliers"]((kept - self.target()).to(loss.device))
            self.networks["model"].backward(loss + penalty, share)
        return {"loss": loss.item(), "cost": kept.item()}

    def update(self, step: int) -> dict[str, float]:
        for values in self.networks["multipliers"].bare.parameters():
            assert values.grad is not None
            values.grad.neg_()  # they ascend
        for network in self.networks.values():
            network.step()
        self.gates.clamp()
        self.step = step
        if "attention" in self.settings.parts:
            keep = self.gates.probabilities()["attention"][0].tolist()
            self.history.add("keep_probability", step, keep)
        return {}

    def target(self) -> float:
        """The share of the cost that is aimed at now: it falls from 1 to the setting."""
        progress = min(1.0, self.step / (self.settings.ramp * self.context.steps))
        return float(1 - (1 - self.settings.target) * progress)

    def assemble(self, values: dict[str, list[Tensor]]) -> Gates:
        """The encoder's gates: those of a block and of its units are multiplied."""
        ffn: list[Tensor] | None = values.get("units")
        if "blocks" in values:
            blocks = values["blocks"][0]
            ones = [blocks.new_ones(size) for size in part_sizes("units", self.config)]
            ffn = [block * units for block, units in zip(blocks, ffn or ones, strict=True)]
        return Gates(
            attention=values["attention"][0] if "attention" in values else None,
            removed=self.settings.replace_by,
            heads=values.get("heads"),
            ffn=ffn,
            hidden=values["hidden"][0] if "hidden" in values else None,
        )

    def decide(self) -> Gates:
        """The gates without chance that come nearest to the target.

        The expected cost is near it when the gates have settled, but a count of whole parts can be well off: log α of
        all gates is moved by one number, and then that of the fine ones by another, until the cost fits.
        """
        coarse = self._fitted(lambda shift: self._hard(shift, shift))
        return self._hard(coarse, self._fitted(lambda shift: self._hard(coarse, shift)))

    def _hard(self, coarse: float, fine: float) -> Gates:
        values = self.gates.final(coarse, fine)
        if "attention" in values:  # beside a stand-in there is no way to keep a part of it
            values["attention"] = [(given > 0).float() for given in values["attention"]]
        return self.assemble(values)

    def _fitted(self, gates: Callable[[float], Gates]) -> float:
        """The shift with which the hard gates cost what is aimed at now."""
        target, low, high = self.target(), -4 * LIMIT, 4 * LIMIT  # no part is removed, all are
        while high - low > SHIFT_TOLERANCE:
            middle = (low + high) / 2
            low, high = (middle, high) if self._left(gates(middle)) > target else (low, middle)
        return min((high, low), key=lambda shift: abs(self._left(gates(shift)) - target))

    def _left(self, hard: Gates) -> float:
        """The share of the cost that stays with hard gates."""
        gates = hard.replace(
            heads=_nonzero(hard.heads),
            ffn=_nonzero(hard.ffn),
            hidden=None if hard.hidden is None else (hard.hidden != 0).float(),
        )
        return self.cost.share(gates).item()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step": self.step, "cost": self.cost.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.step = state["step"]
        self.cost.load_state_dict(state["cost"])

    def notes(self) -> list[str]:
        left = self._left(self.decide())
        return [f"{left:.3f} of the dense layers' {self.cost} stay (target {self.settings.target:g})."]


def _nonzero(gates: PerLayer) -> PerLayer:
    return None if gates is None else [(gate != 0).float() for gate in gates]
