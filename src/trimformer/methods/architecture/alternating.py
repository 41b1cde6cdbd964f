"""A search by gradients: an architecture learns from rows that are held out, in turn with the weights on the others."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...training.evaluate import evaluating
from ..base import Context, StudentMethod
from ..held_out import split
from ..structure.cost import check_cost
from .bilevel import architecture_gradient
from .shares import Architecture, most, network_of, within
from .target import CostTarget, TargetSettings


class AlternatingSettings(TargetSettings):
    """Settings of all such searches."""

    held_out: float = Field(0.5, gt=0, lt=1, description="share of the training rows that the α alone learn from")


class Alternating(StudentMethod):
    """The outline: what the α are, what a pass computes and what it costs is left open.

    The step of the α, which are the network ``alphas``, comes before that of the weights, and its passes have no
    dropout.
    """

    def __init__(self, settings: Any, context: Context) -> None:
        """context: what :meth:`begin` gave."""
        super().__init__(settings, context)
        self.step, self.turned = 0, False

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        check_cost(settings, config)

    def begin(self, settings: Any, context: Context) -> Context:
        """Put rows aside for the α."""
        left, self.held_out = split(context, settings.held_out)
        self.aim = CostTarget(settings, left)
        return left

    # What the searches say.

    def gates(self) -> Gates:
        """The architecture of a pass, with a gradient in the α."""
        raise NotImplementedError

    def now(self) -> float:
        """The share of the dense cost that would stay if the search ended now."""
        raise NotImplementedError

    def expected_now(self) -> Tensor:
        """The expected share of the dense cost, with a gradient in the α; on the CPU."""
        raise NotImplementedError

    def record(self, step: int) -> None:
        """Add to the curves what the report shows of the α."""
        raise NotImplementedError

    def held_out_loss(self, model: Callable[..., Any]) -> Tensor:
        """What the α learn from, beside the cost."""
        return self.held_out.loss(model, self.step + 1, self.gates())

    def pull(self, now: float) -> Tensor:
        """What the cost adds to that loss. now: :meth:`now`."""
        return self.aim.loss(self.expected_now(), now)

    def move(self) -> None:
        """A step of the α, whose gradients are there."""
        self.networks["alphas"].step()

    def rate(self) -> float:
        """How far the weights go in the step that counts in the gradient of the α; 0: it does not count."""
        return 0.0

    # What is the same for all.

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        logged = {} if self.turned else self.turn(batch)
        with torch.no_grad():
            gates = self.gates()
        return {"loss": self.learn(batch, share, gates), **logged}

    def turn(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """The step of the α. batch: what the weights are about to learn from."""
        with self.clock("alphas"):
            bare, rate, now = self.networks["model"].bare, self.rate(), self.now()
            # Differences of the second order are too small for half precision, into which Accelerate would cast.
            model = functools.partial(type(bare).forward, bare) if rate else bare

            def held_out() -> Tensor:
                loss = self.held_out_loss(model)
                return loss + self.pull(now).to(loss.device)

            def train() -> Tensor:
                return self.objective(model, batch, self.gates())

            alphas = list(self.networks["alphas"].bare.parameters())
            weights = [weight for weight in bare.parameters() if weight.requires_grad]
            with evaluating(bare):
                found = architecture_gradient(alphas, weights, held_out, train, rate, self.context.means)
            for alpha, gradient in zip(alphas, found, strict=True):
                alpha.grad = gradient
            self.move()
        self.turned = True
        return {"cost": now}

    def update(self, step: int) -> dict[str, float]:
        super().update(step)
        self.step, self.turned = step, False
        self.aim.record(self.history, step, self.now())
        self.record(step)
        return {}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step": self.step, "aim": self.aim.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.step = state["step"]
        self.aim.load_state_dict(state["aim"])


class ChoosingSettings(AlternatingSettings):
    """Settings of the searches between candidates."""

    alpha_learning_rate: float | None = Field(
        None, gt=0, description="of the α, constant; none: 10 / steps of the stage, at least 3e-4"
    )


class Choosing(Alternating):
    """A search between candidates at places; a choice names one candidate for each place."""

    def __init__(self, settings: Any, context: Context, counts: Sequence[int], first: float | None = None) -> None:
        """counts: of candidates, by place. first: the share with which what is there begins, see Architecture.

        Raises TrimformerError where the target is one that no choice can meet.
        """
        super().__init__(settings, context)
        self.counts = counts
        least = self.cost(self.within([torch.ones(count) for count in counts], 0.0))
        if settings.cost_weight and least > settings.target * (1 + settings.tolerance):
            raise TrimformerError(
                f"A target of {settings.target:g} is out of reach: the cheapest choice leaves {least:.3f} of the "
                f"{self.aim.cost}; raise target or let the search choose between more."
            )
        self.alphas = Architecture(counts, first)
        self.networks["alphas"] = network_of(self.alphas, context, settings.alpha_learning_rate)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if settings.cost == "dimensions":
            raise TrimformerError("Dimensions are the cost of masks: let cost be flops, params, bytes or ms.")

    def expected(self, shares: Sequence[Tensor]) -> Tensor:
        """The expected share of the dense cost where the candidates have these shares; on the CPU, with a gradient."""
        raise NotImplementedError

    def within(self, shares: Sequence[Tensor], limit: float) -> list[int]:
        """The choice with the largest product of shares that costs at most ``limit``; if none does, the cheapest."""
        return within(shares, self.cost, limit)

    def hard(self, choice: Sequence[int]) -> list[Tensor]:
        """Shares of 1 for what is chosen at each place."""
        every = zip(choice, self.counts, strict=True)
        return [F.one_hot(torch.tensor(index), count).float() for index, count in every]

    def cost(self, choice: Sequence[int]) -> float:
        """The share of the dense cost of a choice."""
        return self.expected(self.hard(choice)).item()

    def now(self) -> float:
        return self.cost(most(self.alphas.shares()))

    def expected_now(self) -> Tensor:
        return self.expected([own.cpu() for own in self.alphas()])

    def choice(self) -> list[int]:
        """The candidates with the largest product of shares among those that meet the target together."""
        return self.within(self.alphas.shares(), self.limit)

    @property
    def limit(self) -> float:
        """The most that a choice may cost; without a weight of the cost anything."""
        settings = self.settings
        return float(settings.target * (1 + settings.tolerance)) if settings.cost_weight else math.inf

    def notes(self) -> list[str]:
        choice, largest = self.choice(), most(self.alphas.shares())
        others = sum(one != two for one, two in zip(choice, largest, strict=True))
        notes = [self.aim.note(self.cost(choice))]
        if others:
            notes.append(f"at {others} places another candidate has the largest share, which would miss the target.")
        return notes
