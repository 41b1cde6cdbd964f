"""DynaBERT: one training of an encoder and of the smaller ones inside it, any of which can be cut out afterwards.

Hou, Huang, Shang, Jiang, Chen and Liu, "DynaBERT: Dynamic BERT with Adaptive Width and Depth", 2020. Heads and units
are put in the order of their importance once, so that the first ones of each layer are the sub-network of a width. In
each step the gradients of all widths, and later of all widths at all depths, are added up.

Where the published method is left: units are ranked by the weights out of them alone (the weights into them say the
same where the activation is linear above 0), text by text and not batch by batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.gating.limits import limits
from ...encoder.gating.nested import kept_layers, nested_gates, ordered
from ...encoder.gating.reorder import reordered
from ...encoder.gating.trim import trim, trimmed_config
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...measure.cost import cost
from ...tasks.outcome import outcome
from ...training.evaluate import predict_logits
from ...training.matching import Layers
from ...training.objective import Objective, terms_of
from ...training.settings import ObjectiveSettings
from ..base import Context, MethodSettings, Standard, StudentMethod, register
from ..expected import shape_after
from ..result import Result, Subnetwork
from ..structure.importance import importance_of

Share = Annotated[float, Field(gt=0, le=1)]


class DynaBERTSettings(MethodSettings):
    """Settings of dynabert."""

    name: Literal["dynabert"] = "dynabert"
    width: Share = Field(1.0, description="share of the heads and units of each layer that the stage leaves")
    depth: Share = Field(1.0, description="share of the layers that the stage leaves")
    widths: list[Share] = Field([1.0, 0.75, 0.5, 0.25], min_length=1, description="the widths that are trained")
    depths: list[Share] = Field([1.0, 0.75, 0.5], min_length=1, description="the depths that are trained")
    depths_from: float = Field(
        0.5, ge=0, lt=1, description="share of the steps with the widths alone, before the depths join them"
    )
    rows: int = Field(1000, ge=1, description="rows of the training split that importance is estimated on")

    @property
    def whole(self) -> bool:
        """Whether all sub-networks stay together."""
        return self.width == self.depth == 1

    @property
    def label(self) -> str:
        return str(self.name) if self.whole else f"{self.name}, width {self.width:g}, depth {self.depth:g}"


@register
class DynaBERT(StudentMethod):
    """Train the widths and depths of one encoder together, then cut out the one that is asked for."""

    name = "dynabert"
    Settings = DynaBERTSettings
    example = {  # noqa: RUF012  (never written to)
        "width": 0.5, "depth": 0.5, "widths": [1.0, 0.5], "depths": [1.0, 0.5], "rows": 16,
    }  # fmt: skip
    nests = True
    standard = Standard(stage="nest", objective=ObjectiveSettings(task=0.0, logits=1.0, hidden=0.1), repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        self.check(settings, context.model.config)
        model = context.model
        if not ordered(model.config) and min(settings.widths) < 1:
            model = reordered(model, *orders(context, settings.rows))
        super().__init__(settings, dataclasses.replace(context, model=model))
        self.step = 0
        self.widths, self.depths = (sorted(set(given), reverse=True) for given in (settings.widths, settings.depths))
        self.objectives = {depth: self.objective_at(depth) for depth in self.depths}

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        for name, shares in (("width", settings.widths), ("depth", settings.depths)):
            wanted = getattr(settings, name)
            if wanted not in shares:
                raise TrimformerError(f"{name}={wanted:g} is not among the {name}s that are trained: add it to them.")
        for point in ("heads", "ffn") if min(settings.widths) < 1 else ():
            limits(config).require(point, "set widths to [1.0], and train depths alone")

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        left = shape_after(super().after(settings, config), nested_gates(config, settings.width, settings.depth))
        left.nested = shares_of(settings)
        return left

    def objective_at(self, depth: float) -> Objective:
        """The stage's objective for the sub-networks of a depth.

        A layer that stays takes in what the teacher's takes in, and the last one gives what the teacher gives.
        """
        settings, student, teacher = self.context.objective, self.context.model.config, self.context.teacher
        if depth == 1:
            return self.objective
        kept = kept_layers(depth, self.layers)
        smaller = trimmed_config(student, Gates(layers=nested_gates(student, 1.0, depth).layers))
        if teacher is None or not settings.needs_teacher:
            return Objective(terms_of(settings, smaller, smaller), self.context.task.kind)
        taught_by = [theirs for _, theirs in Layers(student, teacher.config, settings.layer_map).pairs]
        mapped = settings.model_copy(
            update={"layer_map": [*(taught_by[index - 1] for index in kept[1:]), taught_by[-1]]}
        )
        terms = terms_of(mapped, smaller, teacher.config)
        return Objective(terms, self.context.task.kind, self.objective.teacher)

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        whole, config, losses = self.networks["model"], self.context.model.config, []
        device = batch["input_ids"].device
        depths = self.depths if self.step >= self.settings.depths_from * self.context.steps else self.depths[:1]
        with self.clock("step"):
            target = self.objective.target(batch)
            for depth in depths:
                for width in self.widths:
                    gates = nested_gates(config, width, depth, device)
                    loss = self.objectives[depth](at_depth(whole, depth, self.layers), batch, gates, target)
                    whole.backward(loss, share)
                    losses.append(loss.item())
        return {"loss": sum(losses) / len(losses), "whole": losses[0], "smallest": losses[-1]}

    def update(self, step: int) -> dict[str, float]:
        self.step = step
        return super().update(step)

    def decide(self) -> Gates:
        return nested_gates(self.context.model.config, self.settings.width, self.settings.depth)

    def result(self) -> Result:
        found = super().result()
        found.model.config.nested = shares_of(self.settings)
        return dataclasses.replace(found, subnetworks=[self.scored(w, d) for d in self.depths for w in self.widths])

    def scored(self, width: float, depth: float) -> Subnetwork:
        """What the sub-network of a width and a depth costs, and its score on the selection rows."""
        model = trim(self.model, nested_gates(self.context.model.config, width, depth))
        task, data = self.context.task, self.context.selection
        score = None
        if data.kind != "masked-lm" or self.objective.reads_answers:  # a head that nothing trains has no score
            score = outcome(task, data, predict_logits(model, data)).scores[task.metrics[0]]
        counted = cost(model, round(float(self.context.train.lengths.mean())))
        return Subnetwork(width=width, depth=depth, score=score, params=counted.params, flops=counted.flops)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.step = state["step"]

    def notes(self) -> list[str]:
        if not self.settings.whole:
            return []
        return [
            f"the model holds {len(self.widths) * len(self.depths)} sub-networks: trimformer trim RUN --width "
            f"{self.widths[-1]:g} --depth {self.depths[-1]:g} cuts out the smallest one."
        ]


def shares_of(settings: Any) -> dict[str, list[float]] | None:
    """What a configuration says of the sub-networks that are in it; None where one of them was cut out."""
    return {"widths": settings.widths, "depths": settings.depths} if settings.whole else None


def orders(context: Context, rows: int) -> tuple[list[Tensor], list[Tensor]]:
    """The heads and the units of each layer by falling importance for the loss of the task."""
    found = importance_of(context, rows)
    heads, units = (
        [torch.sort(own, descending=True, stable=True).indices for own in found[point]] for point in ("heads", "ffn")
    )
    return heads, units


def at_depth(model: Callable[..., Any], depth: float, layers: int) -> Callable[..., Any]:
    """The model as one that has only the layers of a depth: states and traces of the others are left out."""
    kept = kept_layers(depth, layers)

    def shallower(**inputs: Any) -> Any:
        out = model(**inputs)
        if out.hidden_states is not None:
            out.hidden_states = tuple(out.hidden_states[index] for index in (*kept, layers))
        if out.trace is not None:
            out.trace = tuple(out.trace[index] for index in kept)
        return out

    return shallower
