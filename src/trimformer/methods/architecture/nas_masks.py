"""Search of dimensions by masks towards a cost: those that queries, keys and values read, and those inside the layers.

The method of a study of architecture search on TinyBERT ("Neural Architecture Search on BERT for Network Compression").
Each dimension has a mask σ(α) that starts near 1. In turn, as in DARTS (Liu, Simonyan and Yang, 2019), the α take a
step on rows that are held out, on the loss of the labels and the cost of TAS (``target.py``), and the weights one on
the others, on the objective of the stage. In the end what has σ(α) above 0.01 stays.

Where the study leaves something open: the gradient of the α, which it rescales by a rule that it does not print, is as
in ``masks.py``, and the largest step falls to 0, because steps that stay large carry whole layers to and fro around the
target; the passes of the α have no dropout; heads share the dimensions that they lose, so that all stay equally large;
and σ(α) of what stays is multiplied into the weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...curves import ALPHA
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.points import POINTS
from ...errors import TrimformerError
from ...training.settings import ObjectiveSettings
from ..base import Context, Standard, register
from ..handed import named_gates
from ..result import Result
from ..structure.hard_concrete import PUBLISHED_RATE, TRAVEL
from .alternating import Alternating, AlternatingSettings
from .masks import HEADS, Masks, Way, leap
from .spaces import Space, check_space, gates_of, has, sizes_of, whole
from .target import Cost

TIMED = ("inputs", "ffn", "heads")
"""Spaces of which a table of the device has times."""
OTHER_MASKS = (
    "The stage before has other masks, so that the next one cannot go on with them: give both the same spaces, shared "
    "and masks, or set cut: true there."
)
POINTS_OF_PATHS = 30
"""How often the α of a stage are written down, at most."""
VALUES_OF_PATHS = 100_000
"""How many numbers these are of a space, at most, but for three points: the report stays small for large encoders."""


class NasMasksSettings(AlternatingSettings):
    """Settings of the search by masks."""

    name: Literal["nas-masks"] = "nas-masks"
    cost: Cost = Field(
        "dimensions",
        description="dimensions: what has a mask, each counted as one; or flops, params, bytes or ms of the layers",
    )
    spaces: list[Space] = Field(
        ["inputs"],
        min_length=1,
        description="what has masks: input dimensions of queries, keys and values, dimensions of queries and keys, "
        "those of values, feed-forward units, heads",
    )
    keep_heads: int | None = Field(None, ge=1, description="heads that stay in each layer, with heads in spaces")
    shared: bool = Field(False, description="one mask of the input dimensions for all layers, else one for each")
    masks: Way = Field("straight-through", description="how the masks learn; or hard-concrete")
    leap: float = Field(
        12.0, gt=0, description="the largest step of an α at first, with straight-through; they lie in -6 to 6"
    )
    cut: bool = Field(True, description="false: nothing is cut yet, and the next such stage goes on with the masks")

    @property
    def label(self) -> str:
        return f"{self.name}, {' and '.join(self.spaces)}, target {self.target:g} of {self.cost}"


@register
class NasMasks(Alternating):
    """Masks of dimensions learned on held-out rows, in turn with the weights, towards a share of the cost."""

    name = "nas-masks"
    Settings = NasMasksSettings
    example = {  # noqa: RUF012  (never written to)
        "target": 0.6, "spaces": ["inputs", "query_key", "values", "ffn", "heads"], "keep_heads": 1, "held_out": 0.1,
    }  # fmt: skip
    standard = Standard(objective=ObjectiveSettings(logits=1.0))

    def __init__(self, settings: Any, context: Context) -> None:
        self.check(settings, context.model.config)
        context = self.begin(settings, context)
        super().__init__(settings, context)
        self.config = context.model.config
        self.masks = Masks(mask_sizes(settings, self.config), settings.masks, settings.keep_heads)
        rate = max(PUBLISHED_RATE, TRAVEL / context.steps)  # of hard-concrete masks
        self.networks["alphas"] = context.network("alphas", self.masks, learning_rate=rate, schedule=False, decay=False)
        self._go_on(context.handed)
        nothing = {space: [torch.zeros_like(own) for own in masks] for space, masks in self.masks.hard().items()}
        least = self._share(nothing | ({HEADS: self.masks.hard()[HEADS]} if HEADS in settings.spaces else {})).item()
        if settings.cost_weight and least > (1 + settings.tolerance) * settings.target:
            raise TrimformerError(
                f"A target of {settings.target:g} is out of reach: without any of {', '.join(settings.spaces)} "
                f"{least:.3f} of the {self.aim.cost} stay; raise target or name more spaces."
            )

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        for space in settings.spaces:
            check_space(space, config, "spaces")
            if settings.cost == "ms" and space not in TIMED:
                raise TrimformerError(
                    f"The table of the device has no times for fewer {space}: with cost ms leave {space} out of spaces."
                )
        if (settings.keep_heads is not None) != (HEADS in settings.spaces):
            raise TrimformerError(
                "keep_heads says how many heads stay: name it where spaces has heads, and only there."
            )
        fewest = min(shape.heads for shape in config.shapes)
        if settings.keep_heads is not None and settings.keep_heads > fewest:
            raise TrimformerError(f"keep_heads={settings.keep_heads} is too many: a layer here has {fewest} heads.")
        if settings.shared and len({size for (size,) in POINTS["inputs"].sizes(config)}) > 1:
            raise TrimformerError("The layers read different numbers of dimensions, so that they cannot share a mask.")

    @classmethod
    def check_next(cls, settings: Any, following: Any) -> None:
        if settings.cut:
            return
        if following is None or following.name != cls.name:
            raise TrimformerError(
                f"cut: false leaves the model whole, and no next stage of {cls.name} starts from it to go on with its "
                f"masks: set cut: true, or add a stage of {cls.name} with start: previous after it."
            )
        alike = ("spaces", "shared", "masks")
        if any(getattr(settings, name) != getattr(following, name) for name in alike):
            raise TrimformerError(OTHER_MASKS)

    @classmethod
    def hands_gates(cls, settings: Any, config: TrimformerConfig) -> Gates | None:
        return whole(settings.spaces, config) if settings.cut else None

    def move(self) -> None:
        if self.settings.masks == "straight-through":
            leap(self.masks.dimensions, self.settings.leap * (1 - self.step / self.context.steps))
        super().move()
        self.masks.clamp()

    def record(self, step: int) -> None:
        for space in self.settings.spaces:
            path = self.masks.path(space)
            points = max(3, min(POINTS_OF_PATHS, VALUES_OF_PATHS // len(path)))
            if step in (1, self.context.steps) or step % max(1, self.context.steps // points) == 0:
                self.history.add(f"{ALPHA} {space}", step, path)

    def gates(self) -> Gates:
        return self.as_gates(self.masks())

    def as_gates(self, masks: Mapping[str, list[Tensor]]) -> Gates:
        """The gates of the encoder that masks are."""
        layers = self.config.num_hidden_layers
        every = {
            space: own * layers if space == "inputs" and self.settings.shared else own for space, own in masks.items()
        }
        return gates_of(every, self.config)

    def now(self) -> float:
        return self._share(self.masks.hard()).item()

    def expected_now(self) -> Tensor:
        return self._share(self.masks.expected())

    def decide(self) -> Gates:
        return self.as_gates(self.masks.settled())

    def result(self) -> Result:
        """The model, cut or whole; the gates by which another one is cut, or the α for the next stage."""
        if self.settings.cut:
            found = self.masks.hard()
            return dataclasses.replace(super().result(), handed=named_gates(self.as_gates(found)))
        alphas = {f"{ALPHA}.{name}": alpha for name, alpha in self.masks.state_dict().items()}
        return Result(self.model.cpu(), notes=self.notes(), handed=alphas)

    def _go_on(self, handed: Mapping[str, Tensor]) -> None:
        """Take over the α that the stage before has left."""
        alphas = {name.removeprefix(f"{ALPHA}."): own for name, own in handed.items() if name.startswith(f"{ALPHA}.")}
        if not alphas:
            return
        known = {name: own.shape for name, own in self.masks.state_dict().items()}
        if known != {name: own.shape for name, own in alphas.items()}:
            raise TrimformerError(OTHER_MASKS)
        self.masks.load_state_dict(alphas)

    def _share(self, masks: Mapping[str, list[Tensor]]) -> Tensor:
        """The share of the dense cost; of dimensions each mask counts as one, and in a layer without them as none."""
        if self.settings.cost != "dimensions":
            return self.aim.cost.share(self.as_gates(masks))
        counted = [
            mask
            for space, own in masks.items()
            for mask, shape in zip(own, self.config.shapes, strict=False)  # a shared mask stands with the first layer
            if has(space, shape) or len(own) == 1
        ]
        return torch.stack([mask.sum() for mask in counted]).sum() / sum(len(mask) for mask in counted)

    def notes(self) -> list[str]:
        said = [self.aim.note(self.now())]
        if not self.settings.cut:
            said.append("nothing is cut yet: these masks are what the next stage of nas-masks goes on with.")
        for space, own in self.masks.hard().items():
            kept = ", ".join(f"{int(mask.sum())} of {len(mask)}" for mask in own)
            said.append(f"{space} that stay in the layers, first layer first: {kept}.")
        return said


def mask_sizes(settings: NasMasksSettings, config: TrimformerConfig) -> dict[str, list[int]]:
    """The sizes of the masks of each space."""
    sizes: dict[str, list[int]] = {space: sizes_of(space, config) for space in settings.spaces}
    return sizes | ({"inputs": sizes["inputs"][:1]} if settings.shared and "inputs" in sizes else {})
