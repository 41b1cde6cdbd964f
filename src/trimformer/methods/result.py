"""What a method ends with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder.model.heads import TrimformerWithHead
from .exits.findings import ExitFindings
from .positions.findings import PositionImportance


class Subnetwork(BaseModel):
    """A smaller model that was trained inside the one of a stage."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    width: float = Field(description="share of the heads and units of each layer, the first ones")
    depth: float = Field(description="share of the layers")
    score: float | None = Field(description="official metric on the selection examples; null: not scored")
    params: int = Field(description="number of weights")
    flops: float = Field(description="floating-point operations for one sequence of the mean length in training")


@dataclasses.dataclass(frozen=True)
class Result:
    """A model in its final shape, on the CPU, and what belongs to it.

    tokenizer: of the model, where it is another one than that which it started with. notes: sentences for the report on
    what was decided and why. subnetworks: those that the stage trained inside the model. positions: how much each
    position of attention counts, of a study. exits: what exits cost and save. handed: what the stage after it may go
    on from, see ``handed.py``.
    """

    model: TrimformerWithHead
    tokenizer: PreTrainedTokenizerBase | None = None
    notes: Sequence[str] = ()
    subnetworks: Sequence[Subnetwork] = ()
    positions: PositionImportance | None = None
    exits: ExitFindings | None = None
    handed: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
