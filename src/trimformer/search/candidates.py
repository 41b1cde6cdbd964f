"""Candidates: promising combinations, trimmed from the dense model, fitted to it in closed form, and scored."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from ..console import console
from ..encoder.gating.trim import trim
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.gates import Gates
from ..methods import Context
from ..methods.weights.repair import RepairSettings, repair, unlike
from ..training.evaluate import predict_logits
from ..training.settings import ObjectiveSettings
from .goals.base import Goal
from .predictor import Predicted, predict, scaled
from .schedule.halving import Point, inside
from .sensitivity import Divergence, Sensitivity, sensitivity
from .shortlist import MOST, next_look, promising, worth_exporting, worth_training
from .space import Combination, gates_of, removable_shares
from .training import Ground, Trainer, stage_of

ROWS = (16, 128)
"""Rows of the selection split that parts are compared on, at least and at most: what counts shows after fitting."""
TEXTS = (128, RepairSettings().rows)
"""Training rows that a combination is fitted on, at least and at most."""
HALF = 0.5
"""Share of heads and of units that stays in the trials of fitting."""
EARLY = 6
"""Looks that there should be time for; each row takes about as long as three texts one by one."""
COMPARING = 0.2
"""Share of the time for candidates that comparing parts may take."""
PREDICTING = 0.3
"""Share of the time for candidates that may go into predictions."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What was looked at. taken: to be trained, or exported where nothing is. spare: the others.

    all: whether nothing else would have been looked at with more time.
    """

    taken: list[Point]
    spare: list[Point]
    all: bool

    @property
    def notes(self) -> list[str]:
        """What people should know of a search for which the time was short; of one without any look its conclusion
        tells."""
        looks = len(self.taken) + len(self.spare)
        if self.all or not looks:
            return []
        were = "1 combination was" if looks == 1 else f"{looks} combinations were"
        return [f"{were} looked at in the time there was: a longer --time-budget looks for a better one among others."]


def find_candidates(
    search: Trainer,
    ground: Ground,
    goal: Goal,
    *,
    seconds: float,
    trained: int,
    keep: Callable[[Point], None],
) -> Candidates:
    """Look at combinations for these seconds, and at one at least.

    goal: knows what is to be small. trained: how many there is time to train. keep: is given the first that is inside
    the budget.
    """
    late = search.budget.deadline(seconds)
    stage = stage_of("candidates", search.settings.training, ObjectiveSettings())
    context = search.stages.context(stage, [ground.dense])
    # Each layer is removed in two ways, and importance takes as long as six passes.
    rows = _rows(ROWS, COMPARING * seconds, 2 * ground.inputs.checkpoint.config.num_hidden_layers + 7, ground)
    cost = Divergence(context, rows)
    found = sensitivity(context, rows, cost)
    search.folder.write_json("sensitivity.json", dataclasses.asdict(found))
    prices = goal.prices(context, found, ground)
    remaining = math.inf if late is None else late - search.budget.clock()
    texts = _rows(TEXTS, remaining / EARLY, 3, ground)
    enough = search.budget.deadline(PREDICTING * remaining)
    left = _left(context, found, cost, texts // 2)
    predicted = predict(
        context, found, cost, prices, lambda: search.budget.passed(enough), left=left, fitted=search.fitted
    )
    chosen = promising(scaled(predicted, goal.dense_price(ground)), goal.wanted(ground), MOST)
    points: dict[int, Point] = {}
    fits: dict[int, bool] = {}
    while (index := next_look(len(chosen), fits)) is not None and not (points and search.budget.passed(late)):
        points[index] = _look(search, goal, chosen[index], context, found, texts, ground)
        fits[index] = inside(points[index], search.settings.max_drop)
        if fits[index] and sum(fits.values()) == 1:
            keep(points[index])
    looked = sorted(points.values(), key=lambda one: one.price)
    limit = search.settings.max_drop
    exported = search.settings.post_training
    taken = worth_exporting(looked, limit) if exported else worth_training(looked, limit, trained)
    return Candidates(taken, [one for one in looked if one not in taken], all=index is None)


def _left(context: Context, found: Sensitivity, cost: Divergence, texts: int) -> dict[str, float]:
    """The share of what a removal costs that is left after fitting, in a trial each: of attention, heads and units.

    Fitting wins back more of some than of others, so that without this the wrong combinations would be looked at.
    texts: that are fitted on.
    """
    shares, dense = removable_shares(context.model.config), Combination(len(found.layers), len(found.layers))
    halves: dict[str, dict[str, Any]] = {part: {part: HALF} for part in ("heads", "units") if HALF in shares[part]}
    trials = {part: dataclasses.replace(dense, **half) for part, half in halves.items()}
    if dense.layers > 1:
        trials["attention"] = dataclasses.replace(dense, attention=dense.layers - 1)
    left = {}
    for part, combination in trials.items():
        gates = gates_of(combination, found)
        before = cost(gates)
        model, _ = _trimmed(context, gates, texts)
        left[part] = cost.of(model) / before if before else 1.0
    return left


def _trimmed(context: Context, gates: Gates, texts: int) -> tuple[TrimformerWithHead, bool]:
    """The dense model without what the gates remove, and whether the others were fitted to it, on so many texts."""
    model = trim(context.model, gates)
    if able := not unlike(model.config, context.model.config):
        batches = list(context.sample(context.train, texts))
        repair(model.encoder, context.model.encoder, batches, RepairSettings().ridge)
    return model, able


def _rows(bounds: tuple[int, int], seconds: float, passes: int, ground: Ground) -> int:
    """Rows for so many passes over which the seconds are enough, within bounds."""
    fewest, most = bounds
    return most if math.isinf(seconds) else int(min(most, max(fewest, seconds * ground.speed / passes)))


def _look(
    search: Trainer, goal: Goal, one: Predicted, context: Context, found: Sensitivity, texts: int, ground: Ground
) -> Point:
    """The dense model without what the combination removes, fitted, saved, and scored on the selection split.

    texts: that it is fitted on.
    """
    name, removed, inputs = one.combination.name, one.combination.removed(len(found.attention)), ground.inputs
    model, able = _trimmed(context, gates_of(one.combination, found), texts)
    logits = predict_logits(search.stages.scale.fold(model), inputs.selection)
    folder = f"0-{name}"
    search.stages.save(model.cpu(), search.folder.work / folder / "model")
    score, drop = ground.scored(logits)
    said = f"{name}: {removed}; loses {inputs.task.metric.lost(drop)} untrained, {goal.words(one.price)}"
    console.print(said, markup=False, soft_wrap=True)
    return Point(name, removed, one.price, folder, score, drop, able)
