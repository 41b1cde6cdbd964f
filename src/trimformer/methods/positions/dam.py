"""DAM, the differentiable attention mask: which positions attention keeps is learned together with the weights.

Shi et al., "SparseBERT: Rethinking the Importance Analysis in Self-attention", 2021, and its release. In every pass a
hard mask is drawn (``masks.py``) and the scores of what it removes are replaced by a constant. The objective has a
penalty λ times the number of positions that are kept. In the end a position stays where its α is above 0.

Where the release is left: masks are never the last drawn one but the deterministic one; λ is in its unit (12 heads and
128 tokens) for any number of heads and tokens; the α have a constant learning rate of their own, since the constant
of -10,000 is a factor of their gradient; and padding is masked beside, not by the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from ...encoder.gating.trim import changed, trim
from ...encoder.parts.patterns.learned import packed
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import Context, MethodSettings, StudentMethod, register
from ..result import Result
from .masks import PositionMasks, Structure, masked_layers, sparse
from .rate import own_rate

UNIT = 12 * 128**2
"""Positions of the release, for which λ is given."""


class DamSettings(MethodSettings):
    """Settings of DAM."""

    name: Literal["dam"] = "dam"
    structure: Structure = Field(
        "structured",
        description="structured: a value for each head and distance; unstructured: for each pair of places",
    )
    special: bool = Field(True, description="the first token attends to all and is attended by all")
    per_layer: bool = Field(False, description="each layer has masks of its own; else all layers share them")
    penalty: float = Field(
        5e-5, ge=0, description="λ for each position that is kept, as if there were 12 heads and 128 tokens"
    )
    mask_learning_rate: float | None = Field(
        None, gt=0, description="of the α, constant; none: 10 / steps of the stage, at least 0.01"
    )

    @property
    def label(self) -> str:
        return f"dam, {self.structure}"


@register
class Dam(StudentMethod):
    """Learn a static mask of attention, then keep what it keeps."""

    name = "dam"
    Settings = DamSettings
    takes_split = False

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        config = context.model.config
        self.masked = masked_layers(config)
        self.length = int(max(context.learned.lengths))
        heads = config.shapes[self.masked[0]].heads
        sets = len(self.masked) if settings.per_layer else 1
        self.masks = PositionMasks(sets, heads, self.length, settings.structure, settings.special)
        rate = own_rate(settings.mask_learning_rate, context.steps)
        self.networks["masks"] = context.network("masks", self.masks, learning_rate=rate, schedule=False, decay=False)
        self.weight = settings.penalty * UNIT / (heads * self.length**2)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        masked = masked_layers(config)
        if not masked:
            raise TrimformerError(
                "No layer of this encoder has full attention that could be masked: choose another one."
            )
        heads = [config.shapes[index].heads for index in masked]
        if len(set(heads)) > 1:
            raise TrimformerError(
                f"The layers of this encoder have {', '.join(map(str, heads))} heads, and the masks are for one number "
                "of heads: mask the encoder before heads are removed."
            )
        if settings.per_layer and config.sharing is not None:
            raise TrimformerError(
                "The layers of this encoder share their weights, so that they can only have the same masks: leave "
                "per_layer out."
            )

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        config, masked = super().after(settings, config), masked_layers(config)
        any_choice = offsets([[0]] * config.shapes[masked[0]].heads, settings.special)
        return config.with_shapes(
            [
                changed(shape, any_choice, index) if index in masked else shape
                for index, shape in enumerate(config.shapes)
            ]
        )

    def gates(self, values: Tensor, n: int) -> Gates:
        """Those of the layers that are masked, for texts of n tokens."""
        masks = self.masks.over(values, n)[:, None]
        given: list[Tensor | None] = [None] * self.layers
        for place, index in enumerate(self.masked):
            given[index] = masks[place if self.settings.per_layer else 0]
        return Gates(positions=given)

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        with self.clock("step"):
            values = self.networks["masks"]()
            gates = self.gates(values, batch["input_ids"].shape[1])
            loss = self.objective(self.networks["model"], batch, gates)
            kept = self.masks.total(values)
            self.networks["model"].backward(loss + self.weight * kept, share)
        return {"loss": loss.item(), "sparsity": self.masks.sparsity(values.detach()).mean().item()}

    def update(self, step: int) -> dict[str, float]:
        with self.clock("step"):
            for network in self.networks.values():
                network.step()
        found = self.masks.sparsity(self.masks.settled()).tolist()
        self.history.add("sparsity", step, found if self.settings.per_layer else found[0])
        return {}

    def decide(self) -> Gates:
        """The masks without chance, for texts of the longest rows."""
        return self.gates(self.masks.settled(), self.length)

    def patterns(self) -> dict[int, dict[str, Any]]:
        """What each masked layer becomes."""
        values = self.masks.settled()
        if self.settings.structure == "structured":
            found = [
                offsets([head.nonzero().flatten().tolist() for head in own], self.settings.special) for own in values
            ]
        else:
            masks = self.masks.over(values, self.length)
            found = [
                sparse({"name": "positions", "length": self.length, "masks": [packed(head) for head in own]})
                for own in masks
            ]
        return {index: found[place if self.settings.per_layer else 0] for place, index in enumerate(self.masked)}

    def result(self) -> Result:
        """The weights as they are, with sparse attention in the layers that are masked."""
        return Result(trim(self.model, attention=self.patterns()).cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        values = self.masks.settled()
        shares = ", ".join(f"{share:.1%}" for share in self.masks.sparsity(values).tolist())
        whose = "of each layer's" if self.settings.per_layer else "of the"
        found = [f"the mask leaves out {shares} {whose} positions of a text of {self.length} tokens."]
        empty = int((values.sum(-1) == 0).sum())
        if empty:
            left = (
                "links the first token with the others" if self.settings.special else "gives the mean over real tokens"
            )
            found.append(f"{empty} of {values.shape[0] * values.shape[1]} heads keep no position, so that each {left}.")
        others = [str(index) for index in range(self.layers) if index not in self.masked]
        if others:
            found.append(f"layers {', '.join(others)} have no mask, because their attention is not full.")
        return found


def offsets(kept: Sequence[Sequence[int]], special: bool) -> dict[str, Any]:
    """The kind of attention that keeps these distances, for each head."""
    return sparse({"name": "offsets", "offsets": [list(own) for own in kept], "special": special})
