"""What the methods that learn exits have in common: heads between the layers, a loss of each, and a threshold.

The threshold is chosen after the training, on the selection rows: of those that lose no more than the budget, the one
with the fewest operations, those of the exits' heads included.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from ...encoder.model.exits import with_exits
from ...encoder.model.heads import TrimformerForSequenceClassification
from ...encoder.parts.elimination import eliminates
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...saved.exits import ANSWERS, WITHOUT, ExitShape, executed_words
from ...tasks.metric import metric
from ...tasks.outcome import outcome
from ...training.paired import student_inputs
from ..base import Context, MethodSettings, StudentMethod
from ..result import Result
from .thresholds import choose, every_exit

NO_ENTROPY = {kind: "a number has no entropy: use pabee" for kind, own in ANSWERS.items() if own.entropy is None}


class ExitSettings(MethodSettings):
    """Settings of all methods that learn exits."""

    after: list[NonNegativeInt] | None = Field(
        None,
        description="layers, from 0, after which an exit stands; none: up to three, see [exits](../exits.md)",
    )
    reads: Literal["mean", "head"] = Field(
        "mean", description="what an exit reads: the mean over the tokens, or what the last head reads, by one like it"
    )
    exit_learning_rate: float = Field(1e-3, gt=0, description="of the exits, which begin at random")
    max_drop: float | None = Field(
        None, ge=0, description="points of the metric that exits may lose on the selection rows; none: half a point"
    )


SHARES = (1 / 6, 1 / 3, 2 / 3)


def places(config: TrimformerConfig) -> tuple[int, ...]:
    """Where exits stand by default: at a sixth, a third and two thirds of the layers, each twice as deep as the one
    before.

    A text that is sure at some depth then leaves at twice that depth at the latest, and meets up to three exits, each
    of which costs a good part of a layer. Behind the last layer that mixes the tokens there is little left to save.
    """
    mixing = config.last_mixing + 1
    layers = mixing if mixing > 1 else config.num_hidden_layers
    return tuple(sorted({max(1, round(share * layers)) - 1 for share in SHARES}))


class ExitMethod(StudentMethod):
    """Add exits to the encoder and train them; the rule and the loss are those of a published method."""

    rule: ClassVar[str]
    decides = True
    refuses = WITHOUT

    def __init__(self, settings: Any, context: Context) -> None:
        self.check(settings, context.model.config)
        if settings.max_drop is not None and metric(context.task.metrics[0]).unit != "points":
            raise TrimformerError(
                f"max_drop counts points, and {context.task.metrics[0]} is an error in a unit of its own: leave it "
                "out, which allows half a percent of it."
            )
        self.shape = self.exits(settings, context.model.config, ANSWERS[context.task.kind].entropy is None)
        super().__init__(settings, dataclasses.replace(context, model=with_exits(context.model, self.shape)))

    def options(self) -> dict[str, Any]:
        exits: Any = self.context.model.exits
        return {"apart": [*exits.parameters()], "apart_rate": self.settings.exit_learning_rate}

    @classmethod
    def exits(cls, settings: Any, config: TrimformerConfig, number: bool) -> ExitShape:
        """The exits before any threshold is chosen: no text leaves. number: whether the answer is one."""
        after = places(config) if settings.after is None else tuple(settings.after)
        reads = "head" if eliminates(config) else settings.reads
        limits = cls.limits(settings, after, number)
        return ExitShape(after, cls.rule, **limits, reads=reads, max_drop=settings.max_drop)

    @classmethod
    def limits(cls, settings: Any, after: Sequence[int], number: bool) -> dict[str, Any]:
        """The threshold at which no text leaves, and the tolerance where the answer is a number."""
        return {"threshold": 0}

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if config.num_hidden_layers < 2:
            raise TrimformerError("An encoder of one layer has no place for an exit: choose another method.")
        cls.exits(settings, config, False).check_layers(config.num_hidden_layers)

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        left = super().after(settings, config)
        number = TrimformerForSequenceClassification.kind_under(config) == "regression"
        exits = cls.exits(settings, left, number)
        return TrimformerConfig.from_dict(left.to_dict() | {"exits": exits.to_dict()})

    @classmethod
    def check_next(cls, settings: Any, following: Any) -> None:
        if following is not None:
            raise TrimformerError(
                f"the exits of {cls.name} belong to the weights that it leaves, and {following.name} would go on from "
                "these: let the stage with exits be the last one."
            )

    # Learning.

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        with self.clock("step"):
            self.settle()
            loss = self.loss(batch)
            self.networks["model"].backward(loss, share)
        return {"loss": loss.item()}

    def settle(self) -> None:
        """Called before each step: set what is not to be trained to evaluation, so that nothing is dropped there."""

    @abstractmethod
    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """What is minimised, for one batch."""

    def heads(self, batch: dict[str, Tensor]) -> tuple[Any, list[Tensor]]:
        """The model's output, and the objective's loss of each exit and, behind them, of the last head."""
        target = self.objective.target(batch)
        out = self.networks["model"](**student_inputs(batch), output_exits=True, **self.objective.asked)

        def of(logits: Tensor) -> Tensor:
            given = dataclasses.replace(out, logits=logits)
            return self.objective(lambda **_: given, batch, target=target)

        return out, [of(logits) for logits in (*out.exit_logits, out.logits)]

    def validate(self) -> float:
        """The mean score of all heads on the selection rows: which one a text will leave at is not known yet."""
        rank = self.context.task.metric.rank
        return float(np.mean([rank(score) for score in self.scores(self.logits())]))

    def logits(self) -> list[np.ndarray]:
        """What each head says of the selection rows."""
        return every_exit(self.networks["model"].module, self.context.selection, len(self.shape.after) + 1)

    def scores(self, logits: Sequence[np.ndarray]) -> list[float]:
        """The score of each head, as if all rows left there."""
        task, data = self.context.task, self.context.selection
        return [outcome(task, data, own).scores[task.metrics[0]] for own in logits]

    def decide(self) -> Gates:
        return Gates(attention=torch.ones(self.layers))

    # What it leaves.

    def result(self) -> Result:
        task, data, model = self.context.task, self.context.selection, self.model
        logits = self.logits()
        found, findings = choose(model, self.shape, task, data, logits)
        model.config.exits = found.to_dict()
        name = task.metrics[0]
        known, chosen, full = metric(name), findings.points[findings.chosen], findings.points[0]
        lost = known.lost(known.drop(chosen.score - full.score))
        alone = ", ".join(
            f"{layer}: {score:.{known.decimals(score, 4)}f}"
            for layer, score in zip([*self.shape.after, self.layers - 1], self.scores(logits), strict=True)
        )
        when = dataclasses.replace(found, tolerance=None).when  # it is not in the labels' unit yet
        notes = [
            f"a text leaves where {when}, which was chosen on {len(data.examples)} selection rows: the exits lose "
            f"{lost} of {name} there, and save {100 * (1 - chosen.flops / full.flops):.0f} % of the "
            "operations.",
            f"on the selection rows {executed_words(findings.executed)}",
            f"{name} on the selection rows where all texts leave after one layer: {alone}.",
            *self.notes(),
        ]
        return Result(model.cpu().eval(), notes=notes, exits=findings)
