"""Settings of one fine-tuning run: how weights are trained, and on what loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, create_model

from ..errors import TrimformerError
from .terms.base import Term, in_order


class TrainingSettings(BaseModel):
    """How weights are trained: AdamW with warm-up, and linear decay or none."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    epochs: float = Field(3.0, gt=0, description="passes over the training split; parts of a pass are allowed")
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(32, ge=1, description="examples per process and micro-batch")
    accumulate: int = Field(1, ge=1, description="micro-batches per optimiser step")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps with rising learning rate")
    schedule: Literal["linear", "constant"] = Field(
        "linear", description="of the learning rate after the warm-up: linear decay to 0, or constant"
    )
    weight_decay: float = Field(0.01, ge=0, description="not applied to biases and LayerNorm")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    keep_best: bool = Field(
        True, description="score the selection split after each epoch and keep the best weights; else the last"
    )
    patience: int = Field(2, ge=1, description="stop after this many epochs without a better selection score")
    checkpoint_seconds: float = Field(120.0, ge=0, description="time between saved states; 0 saves every step")


def settings_of(terms: Sequence[type[Term]]) -> Any:
    """A class with the settings of all terms, those of the first one first.

    Raises TrimformerError where two terms have a setting of the same name.
    """
    fields = Counter(field for term in terms for field in term.Settings.model_fields)
    field, times = fields.most_common(1)[0]
    if times > 1:
        who = " and ".join(term.name for term in terms if field in term.Settings.model_fields)
        raise TrimformerError(f"The terms {who} share the setting {field!r}: rename that of the one not built in.")
    return create_model("TermSettings", __base__=tuple(term.Settings for term in reversed(terms)))


_ALL = in_order()
_TermSettings: Any = settings_of(_ALL)


class ObjectiveSettings(_TermSettings):
    """Weights of the terms, and what else these can be told; a weight of 0 switches a term off."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    layer_map: list[NonNegativeInt] | None = Field(
        None, description="the teacher's layer, from 0, for each of the student's; none: evenly spread"
    )
    cache: bool = Field(False, description="run the teacher once over the data and keep on disk what the terms need")

    @property
    def terms(self) -> list[type[Term]]:
        """Those that are on, in the order in which they are summed."""
        return [term for term in _ALL if term.is_on(self)]

    @property
    def needs_teacher(self) -> bool:
        return any(term.needs_teacher for term in self.terms)

    @property
    def reads_states(self) -> bool:
        """Whether a term compares hidden states."""
        return any(term.reads_states for term in self.terms)


Precision = Literal["auto", "bf16", "fp32"]
