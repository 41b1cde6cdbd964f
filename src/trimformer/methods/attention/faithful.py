"""AttendOut as published: defender D, attacker A and generator G (Wu, Zhao and Zhang, 2021, §3 and Algorithm 1).

D and A are two copies of the encoder with its head. Both are fine-tuned on every batch; A under masks sampled from G.
Every ``pruning_step`` steps G is rewarded for the batches on which the masked A was better than D, and D takes over
A's weights. In the end a layer whose attention G mostly removes is removed. Where the paper is silent or contradicts
itself the choices are settings; the defaults are explained in docs/methods/attendout.md.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from ...encoder.model.heads import task_loss
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import ATTENTION, StandIn
from ...errors import TrimformerError
from ...tasks.encoding.batches import bucketed_batches
from ...tasks.encoding.encoded import Encoded
from ...training.distill import real_pairs
from ...training.evaluate import evaluating
from ...training.paired import student_inputs
from ...training.settings import ObjectiveSettings
from ..base import Context, Method, MethodSettings, Standard, register, worded
from ..expected import keep_gates, shape_keeping
from .generator import Generator, empty_rows, kept, log_probability

Batch = dict[str, Tensor]


def _is_the_mean(kind: str) -> str:
    """A kind that gives the mean before it is trained."""
    if "mean" not in (kind, ATTENTION[kind].starts_as):
        raise ValueError(f"a row without positions is the mean, which {kind!r} is not")
    return kind


class FaithfulSettings(MethodSettings):
    """Settings of the published method."""

    name: Literal["attendout-faithful"] = "attendout-faithful"
    keep_layers: int | None = Field(
        None, ge=0, description="attention layers that stay, those that G keeps most; none: the rule decides"
    )
    replace_by: Annotated[StandIn, AfterValidator(_is_the_mean)] = Field(
        "mean",
        description="what a removed layer becomes: a row without positions is the mean, with which conv starts",
    )
    control: Literal["learned", "untrained", "reversed"] = Field(
        "learned",
        description="untrained: G keeps its random weights; reversed: G's passes in reversed layer order",
    )
    rule: Literal["majority", "strict"] = Field(
        "majority",
        description="remove a layer when G keeps at most half (majority) or 1 % (strict) of its positions",
    )
    pruning_step: int = Field(10, ge=1, description="steps between updates of G (paper: 10, 15 or 25)")
    generator_learning_rate: float = Field(5e-5, gt=0)
    generator_start: Literal["random", "first-layer"] = Field(
        "random",
        description="first-layer: copy the query, key and value weights of the encoder's first layer",
    )
    generator_residual: bool = Field(False, description="residual and LayerNorm inside G")
    keep_bias: float | None = Field(None, gt=0, lt=1, description="keep probability that G starts near; none: 0.5")
    reward: Literal["difference", "sign"] = Field("difference", description="of the scores of A and D on a batch")
    reward_masked: bool = Field(True, description="score A under its masks")
    reward_data: Literal["train", "selection"] = Field(
        "train", description="train: the batches just trained on, as published; selection: held-out batches"
    )
    baseline_decay: float = Field(0.9, ge=0, lt=1, description="of the moving average of the reward")
    copy_moments: bool = Field(True, description="D takes over A's optimiser moments with its weights")

    @property
    def label(self) -> str:
        return worded(self.name, control=self.control, keep=self.keep_layers, replace_by=self.replace_by)


@register
class Faithful(Method):
    """D-Net, A-Net, G-Net, element-wise Bernoulli masks, REINFORCE with a baseline."""

    name = "attendout-faithful"
    Settings = FaithfulSettings
    takes_split = False
    example = {"keep_layers": 1, "pruning_step": 3}  # noqa: RUF012  (never written to)
    standard = Standard(start="pretrained", repair=ObjectiveSettings())  # as published

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.networks["D"] = context.student("D", copy.deepcopy(context.model))
        self.networks["A"] = context.student("A", context.model)
        self.generator = self._make_generator()
        self.first = weights_of(self.generator)  # to tell how far G has come
        self.networks["G"] = context.network(
            # Decay would pull G's scores towards the threshold.
            "G",
            self.generator,
            learning_rate=settings.generator_learning_rate,
            schedule=False,
            decay=False,
        )
        self.objective = context.make_objective()
        self.cache: list[tuple[Batch, Tensor]] = []
        self.baseline: float | None = None  # the mean reward of the first update

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if settings.generator_start == "first-layer" and not ATTENTION[config.shapes[0].attention].attends:
            raise TrimformerError(
                "The first layer has no queries and keys that G could start from: set generator_start to random."
            )

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        return shape_keeping(super().after(settings, config), settings.keep_layers, settings.replace_by)

    def _make_generator(self) -> Generator:
        config = self.context.model.config
        generator = Generator(
            config.hidden_size,
            self.layers,
            residual=self.settings.generator_residual,
            keep_bias=self.settings.keep_bias,
            std=config.initializer_range,
        )
        if self.settings.generator_start == "first-layer":
            first: Any = self.context.model.encoder.layers[0]
            for name in ("query", "key", "value"):
                getattr(generator, name).weight.data.copy_(getattr(first.attention, name).weight.data)
        return generator

    def keep_logits(self, batch: Batch) -> Tensor:
        """G's keep logits for a batch, (layers, batch, 1, n, n); its input, A's embedding output, is detached."""
        with torch.no_grad():
            hidden = self.model.encoder.embeddings.embed(batch["input_ids"], batch.get("token_type_ids"))
        logits = self.networks["G"](hidden, batch["attention_mask"])
        return logits.flip(0) if self.settings.control == "reversed" else logits

    def micro_step(self, batch: Batch, share: float) -> dict[str, float]:
        with self.clock("D"):
            loss_d = self.objective(self.networks["D"], batch)
            self.networks["D"].backward(loss_d, share)
        with self.clock("G"):
            masks = self.sample(batch)
        with self.clock("A"):
            loss_a = self.objective(self.networks["A"], batch, Gates(positions=masks))
            self.networks["A"].backward(loss_a, share)
        self.cache.append((batch, masks))
        return {"loss": loss_a.item(), "loss_D": loss_d.item()}

    def sample(self, batch: Batch) -> Tensor:
        """Boolean masks (layers, batch, 1, n, n), each position kept with probability sigmoid(logit)."""
        with torch.no_grad():
            return torch.bernoulli(torch.sigmoid(self.keep_logits(batch).float())).bool()

    def update(self, step: int) -> dict[str, float]:
        with self.clock("D"):
            self.networks["D"].step()
        with self.clock("A"):
            self.networks["A"].step()
        if step % self.settings.pruning_step:
            return {}
        return self.pruning_step(step)

    def pruning_step(self, step: int) -> dict[str, float]:
        """Reward the cached masks, move G, and make the opponents equal again."""
        episodes = self.cache if self.settings.reward_data == "train" else self._held_out_episodes(step)
        with self.clock("evaluation"):
            rewards = self.rewards(episodes)
        mean = rewards.mean().item()
        baseline = mean if self.baseline is None else self.baseline
        with self.clock("G"):
            if self.settings.control != "untrained":
                self.reinforce(episodes, rewards, baseline)
        self.baseline = self.settings.baseline_decay * baseline + (1 - self.settings.baseline_decay) * mean
        with self.clock("copy"):
            self.networks["D"].copy_from(self.networks["A"], self.settings.copy_moments)
        self.cache = []
        keep = self._sampled_shares(episodes)
        batch, masks = episodes[-1]
        self.history.add("keep_probability", step, keep)
        self.history.add("reward", step, mean)
        self.history.add("generator_change", step, self.generator_change())
        empty = empty_rows(masks, batch["attention_mask"]).item()
        return {"reward": mean, "kept": sum(keep), "empty_rows": empty}

    def rewards(self, episodes: list[tuple[Batch, Tensor]]) -> Tensor:
        """How much better A scores than D on each batch, in evaluation mode: (episodes,)."""
        defender, attacker = self.networks["D"].module, self.networks["A"].module
        values = []
        with torch.no_grad(), evaluating(defender, attacker):
            for batch, masks in episodes:
                inputs = student_inputs(batch)
                gates = Gates(positions=masks) if self.settings.reward_masked else None
                kind, mask = self.context.task.kind, batch["attention_mask"]
                loss_d = task_loss(kind, defender(**inputs).logits, batch["labels"], mask)
                loss_a = task_loss(kind, attacker(**inputs, gates=gates).logits, batch["labels"], mask)
                values.append(loss_d - loss_a)
        rewards = torch.stack(values).cpu()
        return rewards.sign() if self.settings.reward == "sign" else rewards

    def reinforce(self, episodes: list[tuple[Batch, Tensor]], rewards: Tensor, baseline: float) -> None:
        """One step of G along Σ (reward - baseline) ∇ log P(mask) (Eq. 4), rewards in units of their spread."""
        spread = rewards.std(correction=0).item()
        spread = spread if spread > 1e-6 else 1.0  # equal rewards: rounding does not count as spread
        for (batch, masks), reward in zip(episodes, rewards.tolist(), strict=True):
            advantage = (reward - baseline) / spread
            log_p = log_probability(self.keep_logits(batch), masks, real_pairs(batch["attention_mask"])[:, None])
            self.networks["G"].backward(-advantage * log_p, 1 / len(episodes))
        self.networks["G"].step()

    def generator_change(self) -> float:
        """How far G's weights are from where they began, as a share of their norm there."""
        return ((weights_of(self.generator) - self.first).norm() / self.first.norm()).item()

    def _held_out_episodes(self, step: int) -> list[tuple[Batch, Tensor]]:
        data, size = self.context.selection, self.context.training.batch_size
        order = bucketed_batches(data.lengths, size, self.context.seed + 1, step)
        device = self.context.accelerator.device
        batches = [
            {k: v.to(device) for k, v in data.batch(indices).items()} for indices in order[: self.settings.pruning_step]
        ]
        return [(batch, self.sample(batch)) for batch in batches]

    def _sampled_shares(self, episodes: list[tuple[Batch, Tensor]]) -> list[float]:
        """Share of real positions that the sampled masks keep in each layer."""
        pairs = [real_pairs(batch["attention_mask"])[:, None] for batch, _ in episodes]
        counts = [(masks & p).flatten(1).sum(1) for (_, masks), p in zip(episodes, pairs, strict=True)]
        return (torch.stack(counts).sum(0) / torch.stack([p.sum() for p in pairs]).sum()).tolist()

    def layer_shares(self, data: Encoded) -> tuple[list[float], list[float]]:
        """For each layer q_l, the share of real positions kept at the threshold 0.5, and their mean probability."""
        hard, soft, total = torch.zeros(self.layers), torch.zeros(self.layers), 0
        order = bucketed_batches(data.lengths, 64, self.context.seed, 0, shuffle=False)
        with torch.no_grad():
            for indices in order:
                batch = {k: v.to(self.context.accelerator.device) for k, v in data.batch(indices).items()}
                pairs = real_pairs(batch["attention_mask"])[:, None]
                counted, summed = kept(self.keep_logits(batch), pairs)
                hard, soft, total = hard + counted.cpu(), soft + summed.cpu(), total + int(pairs.sum())
        return (hard / total).tolist(), (soft / total).tolist()

    def decide(self) -> Gates:
        with self.clock("rule"):
            shares, probabilities = self.layer_shares(self.context.selection)
        self.shares = shares
        if self.settings.keep_layers is not None:
            # G's deeper passes collapse towards one sign, so equal shares are common: the probability decides then.
            ranked = sorted(self.removable, key=lambda index: (-shares[index], -probabilities[index]))
            return keep_gates(self.layers, set(ranked[: self.settings.keep_layers]), self.settings.replace_by)
        threshold = 0.5 if self.settings.rule == "majority" else 0.01
        kept = {index for index, q in enumerate(shares) if q > threshold}
        return keep_gates(self.layers, kept, self.settings.replace_by)

    def notes(self) -> list[str]:
        if "reward" not in self.history.curves:
            return [
                f"The stage had fewer than {self.settings.pruning_step} steps, so G never learned: "
                "the choice of layers is that of its random weights."
            ]
        listed = ", ".join(f"{index}: {share:.3f}" for index, share in enumerate(self.shares))
        strict = [str(index) for index, share in enumerate(self.shares) if share <= 0.01]
        updates = len(self.history.curves["reward"])
        return [
            f"In {updates:,} updates G's weights moved by {self.generator_change():.1%} of their norm.",
            f"Share of positions that G keeps, by layer: {listed}.",
            f"The strict rule (at most 1 % kept) would remove: {', '.join(strict) or 'none'}.",
        ]

    def state_dict(self) -> dict[str, Any]:
        cache = [{"batch": batch, "masks": masks} for batch, masks in self.cache]
        return super().state_dict() | {"cache": cache, "baseline": self.baseline, "first": self.first}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        device = self.context.accelerator.device
        self.cache = [
            ({name: value.to(device) for name, value in entry["batch"].items()}, entry["masks"].to(device))
            for entry in state["cache"]
        ]
        self.baseline, self.first = state["baseline"], state["first"]


def weights_of(generator: Generator) -> Tensor:
    """All of G's weights in one vector, on the CPU."""
    return parameters_to_vector(generator.parameters()).detach().float().cpu()
