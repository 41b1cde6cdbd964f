"""Layers attend in a static pattern from now on: chosen pairs of tokens, whatever the text. A fine-tuning follows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from ...encoder.gating.trim import changed, trim
from ...encoder.parts.attention.sparse import DEFAULT, SparseAttention
from ...encoder.parts.band import Band
from ...encoder.parts.patterns.base import read, written
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.kinds import ATTENTION
from ...errors import TrimformerError
from ..base import Method, MethodSettings, register
from ..result import Result


class SparseSettings(MethodSettings):
    """Settings of sparse."""

    name: Literal["sparse"] = "sparse"
    pattern: dict[str, Any] = Field(
        default_factory=lambda: written(DEFAULT), description="which pairs of tokens are kept: a name and its settings"
    )
    layers: list[int] | None = Field(
        None, min_length=1, description="the layers that attend in it, from 0; none: all that attend"
    )

    @field_validator("pattern")
    @classmethod
    def _known(cls, pattern: dict[str, Any]) -> dict[str, Any]:
        try:
            read(pattern)
        except TrimformerError as error:
            raise ValueError(str(error)) from error
        return pattern

    @property
    def label(self) -> str:
        return f"sparse ({self.pattern['name']})"


@register
class Sparse(Method):
    """Put a pattern into layers; no weight is new, and none changes."""

    name = "sparse"
    Settings = SparseSettings
    example = {"pattern": {"name": "window", "window": 4}}  # noqa: RUF012  (never written to)
    trains = False

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        shapes = list(super().after(settings, config).shapes)
        for index, wanted in wanted_of(settings, config).items():
            shapes[index] = changed(shapes[index], wanted, index)
        return config.with_shapes(shapes)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        if not wanted_of(settings, config):
            raise TrimformerError("No layer of this encoder attends, so that none can be sparse: leave out this stage.")

    def result(self) -> Result:
        """The model with the pattern in these layers."""
        model = trim(self.model, attention=wanted_of(self.settings, self.model.config))
        return Result(model.cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        """How sparse the pattern is, and from which length on this saves time."""
        config, length = self.model.config, round(float(self.context.train.lengths.mean()))
        pattern, layers = read(self.settings.pattern), list(wanted_of(self.settings, config))
        shares = " and ".join(
            f"{pattern.sparsity(n, config.shapes[layers[0]].heads):.1%} at {n} tokens"
            for n in (length, config.max_tokens)
        )
        return [
            f"The pattern {self.settings.pattern['name']} is in the layers {', '.join(map(str, layers))}: of the pairs "
            f"of tokens it leaves out {shares}. {_computed(pattern.band)}"
        ]


def _computed(band: Band | None) -> str:
    """A sentence on what a pattern saves."""
    masked = "All scores are computed and then masked, which saves no time"
    if band is None:
        return f"{masked}."
    return f"Texts of at least {band.long} tokens are computed by blocks. {masked} where a text is shorter."


def wanted_of(settings: Any, config: TrimformerConfig) -> dict[int, dict[str, Any]]:
    """The attention that the layers get; raises TrimformerError for a layer that there is not."""
    layers = settings.layers
    if layers is None:
        layers = [index for index, shape in enumerate(config.shapes) if ATTENTION[shape.attention].attends]
    if wrong := [index for index in layers if not 0 <= index < config.num_hidden_layers]:
        raise TrimformerError(
            f"There is no layer {wrong[0]}: the layers of this encoder are 0 to {config.num_hidden_layers - 1}."
        )
    return {index: {"kind": SparseAttention.kind, "pattern": settings.pattern} for index in layers}
