"""Exits on top of what a search found: heads between the layers of models that stay as they are.

They learn from the model's own last answers, and their threshold is chosen on the selection rows so that what is left
of the budget is used. Each model with exits is one more point, which is exported, timed, confirmed and tested as all
others are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

from ..console import console
from ..encoder.checkpoints.load import load_with_head, read_config
from ..methods import METHODS
from ..methods.exits.findings import ExitFindings
from ..pipeline.stages import StageResult
from ..saved.exits import ExitShape
from ..training.evaluate import predict_logits
from .measurement import DENSE
from .schedule.estimates import FASTEST, Estimates
from .schedule.halving import Point, inside, order
from .training import Ground, Trainer, stage_of

METHOD = "fastbert"
FEWEST = 3
"""Layers of a model that gets exits."""
MOST = 0.5
"""Exits are planned where they take no more than this share of the time that is left for candidates and for them."""
SUFFIX = "-exits"
NO_TIME = "there was no time to train them: give a longer --time-budget"


@dataclasses.dataclass(frozen=True)
class WithExits:
    """The points that came of it, and what is to be said of the models that got none."""

    points: list[Point]
    notes: list[str]


def refused(search: Trainer, ground: Ground, estimates: Estimates) -> str:
    """Why the models of this search get no exits; empty: they do. estimates: with exits."""
    if search.settings.post_training:
        return "their heads are trained, and --post-training trains nothing"
    kind, length = ground.inputs.task.kind, search.recipe.measure.length
    if (why := METHODS[METHOD].refuses.get(kind)) is not None:
        return str(why)
    if _layers(ground.dense) < FEWEST:
        return f"the model has fewer than {FEWEST} layers"
    if length is not None:
        return f"random ids of {length[0]} tokens are timed, which leave elsewhere than texts do: leave out --length"
    plain = dataclasses.replace(estimates, exits=0).ending(FASTEST)
    if estimates.ending(FASTEST) - plain > MOST * search.budget.left(plain):
        return NO_TIME
    return ""


def add_exits(search: Trainer, points: Sequence[Point], ground: Ground, estimates: Estimates) -> WithExits:
    """Train exits of the fastest model inside the budget and of the dense one, and choose their thresholds."""

    def added() -> Any:
        deep = [one for one in points if inside(one, limit) and _layers(_result(search, one, ground)) >= FEWEST]
        dense = Point(DENSE, "", ground.exact.ms, "", ground.exact.score, 0.0)
        waiting = [*order(deep, limit)[:1], dense]
        found: list[Point] = []
        notes: list[str] = []
        while waiting:
            seconds = search.budget.left(estimates.measuring(len(points))) / len(waiting)
            one = waiting.pop(0)
            if seconds < estimates.training:
                notes.append(f"{one.name} got no exits: {NO_TIME}.")
            elif (point := _with_exits(search, one, seconds, ground)) is None:
                notes.append(f"{one.name} got no exits: no text could leave early inside the budget.")
            else:
                found.append(point)
        return dataclasses.asdict(WithExits(found, notes))

    limit = search.settings.max_drop
    return cast(WithExits, search.folder.kept("exits", WithExits, added))


def _with_exits(search: Trainer, one: Point, seconds: float, ground: Ground) -> Point | None:
    """The model with exits; None where no text can leave inside the budget."""
    name, before = f"{one.name}{SUFFIX}", _result(search, one, ground)
    training = search.settings.training.model_copy(update={"keep_best": False})
    method = {"name": METHOD, "max_drop": left_of(search.settings.max_drop, one)}
    stage = stage_of(name, training, METHODS[METHOD].standard.objective, method=method)
    stages = [ground.dense, before]
    stage = search.within(seconds, stage, f"plan-{name}", stages)
    result = search.stages.run(stage, 0, search.folder.work / name, stages, search.deadline)
    found = ExitFindings.model_validate(result.info["exits"])
    chosen, full = found.points[found.chosen], found.points[0]
    if chosen.layers == full.layers:
        return None
    model: Any = load_with_head(result.model_folder)
    score, drop = ground.scored(predict_logits(model.to(search.accelerator.device), ground.inputs.selection))
    after = ", ".join(str(layer + 1) for layer in ExitShape.read(model.config.exits).after)
    layers = len(model.encoder.layers)
    exits = f"exits after layers {after}; texts leave after {chosen.layers:.1f} of {layers} layers on average"
    point = dataclasses.replace(
        one,
        name=name,
        removed=", ".join(filter(None, [one.removed, exits])),
        folder=name,
        score=score,
        drop=drop,
        price=one.price * chosen.flops / full.flops,
        layers=chosen.layers,
    )
    lost = ground.inputs.task.metric.lost(drop)
    console.print(f"{name}: {point.removed}; loses {lost}", markup=False, soft_wrap=True)
    return point


def left_of(max_drop: float, point: Point) -> float:
    """What is left of the budget; the rest was lost by what was removed. A loss may be above it by a rounding error."""
    return max(0.0, max_drop - (point.drop or 0.0))


def _result(search: Trainer, point: Point, ground: Ground) -> StageResult:
    """What a point's last training left, or its look; of the dense model its own."""
    return StageResult.read(point.name, search.folder.work / point.folder) if point.folder else ground.dense


def _layers(result: StageResult) -> int:
    return read_config(result.model_folder).num_hidden_layers
