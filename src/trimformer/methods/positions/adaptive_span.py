"""Adaptive attention span: how far each head looks is learned together with the weights.

Sukhbaatar et al., "Adaptive Attention Span in Transformers", 2019; Tambe et al., "EdgeBERT", 2021, for an encoder. The
attention weights of a head are multiplied by a window with a soft edge (``windows.py``) and brought to a sum of 1
again. The objective has a penalty on the mean span.

Where the publications are left: the distance is |i - j|, since an encoder looks to both sides; spans start at the
largest, so that a checkpoint starts as it is; the edge narrows to one token by the last step, so that what is learned
is a window with a hard edge; and a head whose span falls below one token fades, so that it can be cut at 0.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.gating.limits import limits
from ...encoder.gating.trim import changed, trim
from ...encoder.parts.attention.full import band_at
from ...encoder.parts.attention.sparse import PATTERN
from ...encoder.parts.patterns.base import read
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import Context, MethodSettings, StudentMethod, register
from ..result import Result
from .masks import masked_layers, sparse
from .windows import HeadSpans, soft_windows

TRAVEL = 4
"""How many times a share could go from 1 to 0 in a stage if it always went one way."""


class AdaptiveSpanSettings(MethodSettings):
    """Settings of the adaptive span."""

    name: Literal["adaptive-span"] = "adaptive-span"
    penalty: float = Field(0.1, ge=0, description="λ of the mean span of all heads, as a share of max_span")
    max_span: int | None = Field(
        None, ge=1, description="tokens to each side that a head can look at; none: to the ends of the longest row"
    )
    ramp: float = Field(32, ge=1, description="width R of the soft edge at first, in tokens; it narrows to 1")
    special: bool = Field(True, description="the first token attends to all and is attended by all")
    span_learning_rate: float | None = Field(
        None, gt=0, description="of spans as shares of max_span, constant; none: 4 / steps of the stage"
    )


@register
class AdaptiveSpan(StudentMethod):
    """Learn a window for each head, then keep the windows and cut the heads that look at nothing."""

    name = "adaptive-span"
    Settings = AdaptiveSpanSettings

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        config = context.model.config
        self.length = int(max(context.learned.lengths))
        sets = sets_of(config)
        self.set_of = {index: place for place, own in enumerate(sets) for index in own}
        self.cut = {index for own in sets if can_lose_heads(config, own) for index in own}
        heads = [config.shapes[own[0]].heads for own in sets]
        self.spans = HeadSpans(heads, settings.max_span or max(1, self.length - 1))
        rate = settings.span_learning_rate or TRAVEL / context.steps
        self.networks["spans"] = context.network("spans", self.spans, learning_rate=rate, schedule=False, decay=False)
        self.step = 0

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if not masked_layers(config):
            raise TrimformerError(
                "No layer of this encoder has full attention whose span could be learned: choose another method."
            )
        if settings.max_span is not None and settings.max_span >= config.max_tokens:
            raise TrimformerError(
                f"max_span={settings.max_span} is out of range: a text of this encoder has at most {config.max_tokens} "
                f"tokens, so set at most {config.max_tokens - 1}."
            )

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        config, shapes = super().after(settings, config), list(config.shapes)
        for index in masked_layers(config):
            shapes[index] = changed(shapes[index], spans([0] * shapes[index].heads, settings.special), index)
        return config.with_shapes(shapes)

    @property
    def ramp(self) -> float:
        """R of now: it narrows from the setting to 1 in equal steps."""
        return float(1 + (self.settings.ramp - 1) * (1 - self.step / self.context.steps))

    def gates(self, own: list[Tensor], n: int) -> Gates:
        """Those of texts of n tokens under soft windows. own: the spans of each set."""
        windows = [soft_windows(given, self.ramp, n, int(self.settings.special))[None] for given in own]
        return Gates(contributions=self._of_layers(windows), heads=self._faded(own))

    def decide(self) -> Gates:
        """Windows with a hard edge, for texts of the longest row, and what is left of heads that have faded."""
        own = self.spans.whole()
        windows = [soft_windows(given, 1, self.length, int(self.settings.special))[None] for given in own]
        return Gates(
            positions=self._of_layers(windows), heads=self._faded([given.detach().cpu() for given in self.spans()])
        )

    def _faded(self, own: list[Tensor]) -> list[Tensor | None]:
        """The gates of heads: below 1 where a span is below one token."""
        found = self._of_layers([given.clamp(max=1) for given in own])
        return [given if index in self.cut else None for index, given in enumerate(found)]

    def _of_layers(self, own: list[Tensor]) -> list[Tensor | None]:
        """What each layer has of the sets; None where its span is not learned."""
        return [own[self.set_of[index]] if index in self.set_of else None for index in range(self.layers)]

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        with self.clock("step"):
            own = self.networks["spans"]()
            loss = self.objective(self.networks["model"], batch, self.gates(own, batch["input_ids"].shape[1]))
            mean = torch.cat(own).mean()
            penalty = self.settings.penalty * mean / self.spans.largest
            self.networks["model"].backward(loss + penalty, share)
        return {"loss": loss.item(), "span": mean.item()}

    def update(self, step: int) -> dict[str, float]:
        with self.clock("step"):
            for network in self.networks.values():
                network.step()
        self.spans.clamp()
        self.step = step
        means = [given.mean().item() for given in self._of_layers(self.spans()) if given is not None]
        self.history.add("span", step, means if len(means) == self.layers else sum(means) / len(means))
        return {}

    def patterns(self) -> dict[int, dict[str, Any]]:
        """What the layers become in which a head does not see all that a text can have."""
        config, own = self.model.config, self._of_layers(self.spans.whole())
        found, longest = {}, config.max_tokens - 1
        for index, given in enumerate(own):
            if given is None:
                continue
            if self.settings.max_span is None:  # who looks over the longest row of training looks over longer ones, too
                given = given.where(given < self.spans.largest, longest)
            if given.min() < longest:
                most = given.clamp(max=longest)
                found[index] = spans([int(span) for span in most], self.settings.special)
        return found

    def result(self) -> Result:
        """The weights as they are, with a window for each head, and without the heads that have faded."""
        model = trim(self.model, attention=self.patterns())
        model = trim(model, Gates(heads=self.decide().heads)).cpu()
        return Result(model, notes=[*self.notes(), saved(model.config)])

    def notes(self) -> list[str]:
        """How far the heads look, and how many are gone."""
        own = {index: given for index, given in enumerate(self._of_layers(self.spans.whole())) if given is not None}
        every = torch.cat(list(own.values()))
        listed = ", ".join(f"{given.mean():.1f}" for given in own.values())
        found = [
            f"The {len(every)} heads look {every.mean():.1f} tokens to each side in the mean, of {self.spans.largest} "
            f"that they could (by layer {listed})."
        ]
        gone = sum(int((given == 0).sum()) for index, given in own.items() if index in self.cut)
        if gone:
            found.append(f"{gone} of them look at nothing, and are cut.")
        if others := [str(index) for index in range(self.layers) if index not in own]:
            found.append(
                f"Nothing was learned for the layers {', '.join(others)}, because their attention is not full."
            )
        return found

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"step": self.step}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.step = state["step"]


def sets_of(config: TrimformerConfig) -> list[list[int]]:
    """The layers that have the same spans, because they share their weights; else each is a set of its own."""
    found: dict[int, list[int]] = {}
    for index in masked_layers(config):
        found.setdefault(index if config.sharing is None else config.sharing[index], []).append(index)
    return list(found.values())


def can_lose_heads(config: TrimformerConfig, own: list[int]) -> bool:
    """Whether heads can be cut in these layers: not where another layer, of which nothing is learned, has them, too."""
    groups = config.sharing or list(range(config.num_hidden_layers))
    return "heads" not in limits(config).keeps and groups.count(groups[own[0]]) == len(own)


def spans(own: list[int], special: bool) -> dict[str, Any]:
    """The kind of attention in which each head has this span."""
    return sparse({"name": "spans", "spans": own, "special": special})


def saved(config: TrimformerConfig) -> str:
    """A sentence on from which length on windows save time."""
    patterns = {index: shape.own[PATTERN] for index, shape in enumerate(config.shapes) if PATTERN in shape.own}
    bands = {index: band_at(config, None, read(given), config.max_tokens) for index, given in patterns.items()}
    longs = {index: band.long for index, band in bands.items() if band is not None}
    if not longs:
        return "No window is short enough for blocks: all scores are computed and then masked, which saves no time."
    named = ", ".join(f"{long} in layer {index}" for index, long in longs.items())
    masked = "Other layers and shorter texts are computed in full and then masked, which saves no time."
    return f"Windows are computed by blocks in texts of at least so many tokens: {named}. {masked}"
