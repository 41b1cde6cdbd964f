"""Block movement pruning: blocks of weights, rows and columns that move towards 0 go, and what dies whole is cut out.

Lagunas, Charlaix, Sanh and Rush, "Block Pruning For Faster Transformers", 2021: movement pruning with one score for a
block of an attention map, and one for a unit of the feed-forward block, that is a row of its first map and a column of
its second (``hybrid``); or for whole dimensions in both (``struct``). A bias is masked with its row, so that a
dimension without weights gives exactly nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ...encoder.gating.keep import LAYER_NAME, axes_of
from ...encoder.gating.limits import limits
from ...encoder.gating.trim import trim
from ...encoder.model.body import TrimformerModel, TrimformerPreTrainedModel
from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.baked import bake
from ...encoder.shape.config import LayerShape, TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import ATTENTION
from ...encoder.shape.points import POINTS
from ...errors import TrimformerError
from ..base import DISTILLED, Standard, register
from ..result import Result
from .masks import Masked, maps_of, parametrized
from .movement import Scored, ScoredSettings, ScorePruning

POINT_OF = {
    "values": "values", "outputs": "values", "query": "query_key", "key": "query_key", "ffn": "ffn", "units": "ffn",
}  # fmt: skip
"""The gate point at which the dimensions of an axis go, for axes inside of a layer."""


class BlockMovementSettings(ScoredSettings):
    """Settings of block-movement."""

    name: Literal["block-movement"] = "block-movement"
    blocks: Literal["hybrid", "struct"] = Field(
        "hybrid", description="what has a score in attention: square blocks (hybrid) or whole dimensions (struct)"
    )
    block: int = Field(32, ge=1, description="rows and columns of a block")

    @property
    def label(self) -> str:
        share = "" if self.density is None else f", keep {self.density:.0%} of the weights"
        return f"{self.name} {self.blocks}{share}"


class Inside(NamedTuple):
    """Dimensions inside of a layer in one of its maps. dimension: 0 where they are its rows, 1 for columns."""

    layer: int
    point: str
    dimension: int
    mask: Scored


@register
class BlockMovement(ScorePruning):
    """Learn scores of blocks and units, then cut out heads, dimensions and units of which nothing is left."""

    name = "block-movement"
    Settings = BlockMovementSettings
    example = {"density": 0.5, "block": 4}  # noqa: RUF012  (never written to)
    decides = True
    standard = Standard(objective=DISTILLED)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        with torch.device("meta"):
            inside = list(maps_inside(TrimformerModel(config)))
        if not inside:
            raise TrimformerError(
                f"Layers of kind {config.layer_kind} have no map whose rows or columns {cls.name} can remove: choose "
                "movement, which leaves zeros."
            )

    def put(self, settings: Any, model: TrimformerWithHead) -> dict[str, Any]:
        weights: dict[str, Any] = {}
        done: dict[int, Scored] = {}
        self.scores: dict[str, list[Scored]] = {}
        self.inside: list[Inside] = []
        self.biases: list[tuple[Scored, Masked]] = []
        for name, layer, point, dimension, module in maps_inside(model):
            if id(module) not in done:  # layers can share it
                whole = point == "ffn" or settings.blocks == "struct"
                masks = self.scores.setdefault(f"{layer}.{point}" if whole else name, [])
                weight, bias = module.weight, module.bias
                masks.append(of_dimensions(weight, dimension, masks) if whole else of_blocks(weight, settings.block))
                done[id(module)] = masks[-1]
                weights[name] = parametrized(module, masks[-1])
                if dimension == 0 and bias is not None:
                    self.biases.append((masks[-1], Masked(bias)))
                    parametrized(module, self.biases[-1][1], "bias")
            self.inside.append(Inside(layer, point, dimension, done[id(module)]))
        return weights

    def rivals(self) -> list[list[str]]:
        """Units compete with those of all layers, and so do blocks, or dimensions, of attention."""
        units = [name for name in self.scores if name.endswith(".ffn")]
        return [group for group in ([name for name in self.scores if name not in units], units) if group]

    def prune(self, step: int) -> None:
        super().prune(step)
        for weight, bias in self.biases:
            bias.mask.copy_(weight.mask.any(1))

    def decide(self) -> Gates:
        """What is left of the dimensions inside of layers: one is gone where a map has no weight for it any more."""
        config = self.model.config
        points = {each.point for each in self.inside} - set(limits(config).keeps)
        kept = {point: [torch.ones(size) for size in POINTS[point].sizes(config)] for point in sorted(points)}
        for layer, point, dimension, mask in self.inside:
            if point in kept:
                alive = mask.mask.any(1 - dimension).cpu()
                kept[point][layer] *= alive.view_as(kept[point][layer])
        given: dict[str, Any] = kept
        return Gates(**given)

    def result(self) -> Result:
        """The model without what has no weights left, and with zeros where a part of it is left."""
        self.finish()
        found = trim(bake(self.model), self.decide()).cpu()
        return Result(found, notes=self.notes_of(found))

    def notes_of(self, found: TrimformerWithHead) -> list[str]:
        before, after = self.model.config.shapes, found.config.shapes
        weights = [module.weight for module in maps_of(found.encoder.layers).values()]
        count = sum(weight.numel() for weight in weights)
        zeros = count - sum(int(weight.count_nonzero()) for weight in weights)
        heads, units = (
            f"{sum(size(shape) for shape in before) - sum(size(shape) for shape in after)} of "
            f"{sum(size(shape) for shape in before)}"
            for size in (heads_of, lambda shape: shape.ffn)
        )
        return [
            f"{self.density():.1%} of the weights of the layers' linear maps stay, {self.chosen()}.",
            f"{heads} heads and {units} units of feed-forward blocks have no weights left and were cut out.",
            f"Of the {count:,} weights left in these maps {zeros:,} are 0 ({zeros / max(1, count):.1%}). That saves no "
            "time on dense hardware; a fine-tuning that follows fills them.",
        ]

    def chosen(self) -> str:
        if self.settings.density is None:
            return f"in blocks and units whose score is above the threshold of {self.settings.threshold:g}"
        return "in the blocks and units of all layers with the largest scores"


def maps_inside(model: TrimformerPreTrainedModel) -> Iterator[tuple[str, int, str, int, nn.Linear]]:
    """The maps from or to the inside of layers: name, layer, gate point, the dimension of the inside, and module."""
    for name, axes in axes_of(model).items():
        found, (place, _, leaf) = LAYER_NAME.match(name), name.rpartition(".")
        module = model.get_submodule(place)
        if found is None or leaf != "weight" or not isinstance(module, nn.Linear):
            continue
        for dimension, axis in enumerate(axes):
            if axis in POINT_OF:
                yield place, int(found[2]), POINT_OF[axis], dimension, module


def heads_of(shape: LayerShape) -> int:
    """Heads of a layer that gives anything from its values."""
    return shape.heads if ATTENTION[shape.attention].has_values else 0


def of_blocks(weight: Tensor, size: int) -> Scored:
    """The mask of a map with a score for each square block."""
    rows, columns = weight.shape
    return Scored(weight, nn.Parameter(torch.zeros(-(-rows // size), -(-columns // size))), (size, size))


def of_dimensions(weight: Tensor, dimension: int, others: list[Scored]) -> Scored:
    """The mask of a map with a score for each of its rows (dimension 0) or columns, shared with those of others."""
    scores = others[0].scores if others else nn.Parameter(torch.zeros(weight.shape[dimension], 1))
    block = (1, weight.shape[1]) if dimension == 0 else (weight.shape[0], 1)
    return Scored(weight, scores, block, transposed=dimension == 1)
