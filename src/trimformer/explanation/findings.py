"""What ``explain`` finds out, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..measure.significance import Interval
from ..recipe.settings import Recipe
from ..tasks.metric import metric

MOST = 0.9
"""The share of the importance by which tables and sentences say how much of a layer carries it."""


@dataclasses.dataclass(frozen=True)
class LayerFinding:
    """A layer: what matters in it, and milliseconds of a pass.

    loss: the task loss where the attention of this layer alone is replaced by its mean; loss_without: without this
    layer as a whole. heads, units: their first-order importance, the mean over texts of the absolute gradient of the
    loss by the gate of each. half_heads_ms, half_units_ms: what this layer with half of them would save.
    """

    attention: str
    loss: float
    loss_without: float
    heads: list[float]
    units: list[float]
    attention_ms: float
    ffn_ms: float
    half_heads_ms: float
    half_units_ms: float


@dataclasses.dataclass(frozen=True)
class FileFinding:
    """The model under a back-end.

    ms: of a batch. speedup: over the fastest in fp32. difference, low, high: score minus that of the model in PyTorch
    in fp32, with its 95 % interval, made as ``interval`` says. proves: whether so many answers differ that it says
    anything of other rows. agreement: share of its answers that are those in fp32.
    """

    backend: str
    precision: str
    ms: float
    speedup: float
    score: float
    difference: float
    low: float
    high: float
    interval: Interval = "bootstrap"
    proves: bool = True
    agreement: float = 1.0


@dataclasses.dataclass(frozen=True)
class Depth:
    """How many layers texts need, by exits that were fitted in closed form.

    executed: of texts that no exit was fitted on, how many an exit is first sure of behind 1, 2, … layers; the last
    number has those that need all. same: share of these answers that are those of the model. sure: the probability of
    an answer from which on an exit counts as sure. fitted: how many texts the exits were fitted on.
    """

    executed: list[int]
    same: float
    sure: float
    fitted: int


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The result of ``explain``.

    rows: of the ``split`` that is scored. drawn: of these, the ones that losses and importance are of. loss: of the
    model as it is. table_backend: what the milliseconds of the layers are of; rest_ms: of embeddings, head, and what a
    pass costs whatever the layers. depth: None where the model has exits, or gives no single label to a text. recipe:
    what is suggested, None where nothing can be. conclusion: in sentences.
    """

    model: str
    task: str
    source: str
    metric: str
    split: str
    rows: int
    drawn: int
    batch: int
    length: int
    threads: int
    hardware: dict[str, str]
    loss: float
    layers: list[LayerFinding]
    table_backend: str
    rest_ms: float
    files: list[FileFinding]
    depth: Depth | None = None
    recipe: Recipe | None = None
    conclusion: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def allowed(self) -> float:
        """What a precision may lose and still pays, and the budget of the recipe, in the unit of the metric."""
        exact = self.files[0].score - self.files[0].difference
        return metric(self.metric).small(exact)

    @property
    def ms(self) -> float:
        """The time of a pass, as the table of the device predicts it."""
        return self.rest_ms + sum(layer.attention_ms + layer.ffn_ms for layer in self.layers)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        recipe = None if self.recipe is None else self.recipe.model_dump(mode="json")
        return dataclasses.asdict(dataclasses.replace(self, recipe=None)) | {"recipe": recipe}


def carriers(importance: Sequence[float], share: float = MOST) -> int:
    """The fewest parts that have this share of the importance together; 0 where nothing has any."""
    total = np.cumsum(np.sort(importance)[::-1])
    if not total.size or total[-1] <= 0:
        return 0
    return int(np.searchsorted(total, share * total[-1] * (1 - 1e-9))) + 1
