"""AttendOut, layerwise: one Bernoulli gate per attention layer, learned by REINFORCE while the weights are trained.

The practical variant of AttendOut (Wu, Zhao and Zhang, "Not All Attention Is All You Need", 2021). Each step trains
the network under a sampled set of layers, then scores several sampled sets on one held-out batch. The reward of a set
is its score there plus a term for what is removed; the other sets of the same batch are its baseline
(leave-one-out), so the score of an unpruned opponent on that batch would cancel and is not computed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoder.model.heads import task_loss
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import StandIn
from ...errors import TrimformerError
from ...training.evaluate import evaluating, mean_loss
from ..base import Context, Method, register, worded
from ..expected import keep_gates, shape_keeping
from ..held_out import HeldOut
from ..structure.cost import CostSettings, ExpectedCost, check_cost


class LayerwiseSettings(CostSettings):
    """Settings of the layerwise variant."""

    name: Literal["attendout"] = "attendout"
    keep_layers: int | None = Field(None, ge=0, description="attention layers that stay; none: the reward decides")
    replace_by: StandIn = Field(
        "mean", description="what a layer that loses its attention becomes, in the search as in the end"
    )
    control: Literal["learned", "untrained", "random-finalists", "reversed"] = Field(
        "learned",
        description="untrained: the gates never learn, and one set is drawn; random-finalists: they never learn, and "
        "sets that are drawn are compared in the end; reversed: the choice is applied in reversed order",
    )
    samples: int = Field(4, ge=2, description="sets of layers scored on each held-out batch")
    gate_learning_rate: float = Field(0.05, gt=0)
    initial_keep: float = Field(0.9, gt=0, lt=1, description="keep probability of every layer at the start")
    removal: float = Field(0.05, ge=0, description="reward for removing all attention, in units of the loss")
    target_weight: float = Field(0.2, ge=0, description="penalty for each layer off the target count")
    anneal: float = Field(0.6, gt=0, le=1, description="share of the steps in which the target falls to keep_layers")
    entropy: float = Field(1e-3, ge=0, description="bonus on the entropy of the gates")
    finalists: int = Field(8, ge=1, description="sets compared on the whole selection split at the end")

    @property
    def label(self) -> str:
        return worded(self.name, control=self.control, keep=self.keep_layers, replace_by=self.replace_by)


UNTRAINED = ("untrained", "random-finalists")
"""Controls whose gates never learn."""


class Policy(nn.Module):
    """Independent Bernoulli gates: layer l is kept with probability sigmoid(logits[l])."""

    def __init__(self, layers: int, initial_keep: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((layers,), float(np.log(initial_keep / (1 - initial_keep)))))

    def forward(self, sets: Tensor) -> tuple[Tensor, Tensor]:
        """Log probability of each set (count, layers) -> (count,), and the entropy."""
        return log_probability(self.logits, sets), entropy(self.logits)

    def sample(self, count: int) -> Tensor:
        """(count, layers) of 0 and 1."""
        with torch.no_grad():
            return torch.bernoulli(torch.sigmoid(self.logits).expand(count, -1))


def log_probability(logits: Tensor, sets: Tensor) -> Tensor:
    """Log probability of each set under independent Bernoulli gates: (..., layers) -> (...)."""
    return -F.binary_cross_entropy_with_logits(logits.expand_as(sets), sets, reduction="none").sum(-1)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of independent Bernoulli gates in nats, summed over the layers."""
    p = torch.sigmoid(logits)
    return F.binary_cross_entropy_with_logits(logits, p, reduction="sum")


def leave_one_out(rewards: Tensor) -> Tensor:
    """Each reward minus the mean of the others."""
    return (rewards - rewards.mean()) * (len(rewards) / (len(rewards) - 1))


@register
class Layerwise(Method):
    """One gate per layer; a reward from held-out data; a hard finish."""

    name = "attendout"
    Settings = LayerwiseSettings
    example = {"keep_layers": 1, "replace_by": "none"}  # noqa: RUF012  (never written to)

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.networks["A"] = context.student("A", context.model)
        self.policy = Policy(self.layers, settings.initial_keep)
        # The loop's warm-up would delay the few and noisy steps of the gates: their rate is constant.
        self.networks["gates"] = context.network(
            "gates", self.policy, learning_rate=settings.gate_learning_rate, schedule=False
        )
        self.objective = context.make_objective()
        self.held_out = HeldOut(context.selection, context)
        self.cost: ExpectedCost | None = None
        if settings.keep_layers is None:
            self.cost = ExpectedCost(settings, context)
            if self.cost.share(self._gates(torch.zeros(self.layers))) >= 1:
                raise TrimformerError(
                    f"Removing attention would not reduce the {self.cost} of the layers: set keep_layers, or "
                    "another cost."
                )

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        check_cost(settings, config)

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        return shape_keeping(super().after(settings, config), settings.keep_layers, settings.replace_by)

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        with self.clock("A"):
            gates = self._gates(self.policy.sample(1)[0])
            loss = self.objective(self.networks["A"], batch, gates)
            self.networks["A"].backward(loss, share)
        return {"loss": loss.item()}

    def update(self, step: int) -> dict[str, float]:
        with self.clock("A"):
            self.networks["A"].step()
        sets = self.policy.sample(self.settings.samples)
        with self.clock("evaluation"):
            scores = self.held_out_scores(sets, step)
        rewards = scores + self.removal_reward(sets, step)
        with self.clock("gates"):
            if self.settings.control not in UNTRAINED:
                log_p, spread = self.networks["gates"](sets)
                loss = -(leave_one_out(rewards) * log_p).mean() - self.settings.entropy * spread
                self.networks["gates"].backward(loss)
                self.networks["gates"].step()
            keep = torch.sigmoid(self.policy.logits.detach()).tolist()
        self.history.add("keep_probability", step, keep)
        self.history.add("reward", step, rewards.mean().item())
        return {"reward": rewards.mean().item(), "kept": sum(keep)}

    def _gates(self, attention: Tensor) -> Gates:
        return Gates(attention=attention, removed=self.settings.replace_by)

    def held_out_scores(self, sets: Tensor, step: int) -> Tensor:
        """Minus the task loss of A under each set, on one batch of the selection split: (sets,)."""
        batch = self.held_out.batch(step)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        module = self.networks["A"].module
        different, which = torch.unique(sets, dim=0, return_inverse=True)  # equal sets are scored once
        with torch.no_grad(), evaluating(module):
            losses = [
                task_loss(
                    self.context.task.kind,
                    module(**inputs, gates=self._gates(gates)).logits,
                    batch["labels"],
                    batch["attention_mask"],
                )
                for gates in different
            ]
        return -torch.stack(losses)[which]

    def removal_reward(self, sets: Tensor, step: int) -> Tensor:
        """With a target: minus the distance to a count that falls linearly to it; free: a prize for what is saved."""
        if self.cost is not None:
            return self.settings.removal * self.saved(self.cost, sets)
        progress = min(1.0, step / (self.settings.anneal * self.context.steps))
        count = len(self.removable)
        target = count - max(0, count - self.settings.keep_layers) * progress
        return -self.settings.target_weight * (sets[:, self.removable].sum(-1) - target).abs()

    def saved(self, cost: ExpectedCost, sets: Tensor) -> Tensor:
        """What sets (count, layers) save of the cost, where the removal of all attention saves 1: (count,)."""
        gates = map(self._gates, (torch.zeros(self.layers), *sets.cpu()))
        least, *left = (cost.share(one).item() for one in gates)
        return (1 - torch.tensor(left, device=sets.device)) / (1 - least)

    def decide(self) -> Gates:
        """The best of the most probable sets, compared on the whole selection split with the trained A."""
        if self.settings.control == "untrained":
            return self._keep(self._sampled_sets(1)[0])
        finalists = self._sampled_sets(self.settings.finalists)
        best = finalists[0]
        if len(finalists) > 1:
            with self.clock("finalists"):
                best = max(finalists, key=self._final_reward)
        if self.settings.control == "reversed":
            best = tuple(
                there for index, there in zip(self.removable[::-1], self.removable, strict=True) if index in best
            )
        return self._keep(best)

    def _keep(self, kept: tuple[int, ...]) -> Gates:
        return keep_gates(self.layers, set(kept), self.settings.replace_by)

    def _sampled_sets(self, count: int) -> list[tuple[int, ...]]:
        """The ``count`` sets drawn most often; with a target every draw has exactly that many layers.

        Adding Gumbel noise to the logits and keeping the k largest samples sets of k without replacement (Kool et
        al., 2019).
        """
        generator = torch.Generator().manual_seed(self.context.seed)
        logits = self.policy.logits.detach().cpu()
        uniform = torch.rand(2000, self.layers, generator=generator).clamp(1e-9, 1 - 1e-9)
        keep = self.settings.keep_layers
        if keep is None:
            draws = [tuple(row.nonzero().flatten().tolist()) for row in uniform < torch.sigmoid(logits)]
        else:
            noisy = (logits - torch.log(-torch.log(uniform)))[:, self.removable]
            order = torch.tensor(self.removable)[noisy.argsort(dim=-1, descending=True)]
            draws = [tuple(sorted(row[:keep].tolist())) for row in order]
        if self.settings.control in UNTRAINED:
            return list(dict.fromkeys(draws))[:count]  # all sets are equally likely: the first draws are random choices
        return [chosen for chosen, _ in Counter(draws).most_common(count)]

    def _final_reward(self, kept: tuple[int, ...]) -> float:
        loss = mean_loss(self.networks["A"].module, self.context.selection, gates=self._keep(kept))
        if self.cost is None:
            return -loss
        chosen = torch.zeros(1, self.layers)
        chosen[0, list(kept)] = 1
        return -loss + self.settings.removal * self.saved(self.cost, chosen).item()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({} if self.cost is None else {"cost": self.cost.state_dict()})

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        if self.cost is not None:
            self.cost.load_state_dict(state["cost"])
