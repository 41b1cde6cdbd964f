"""What a method ends with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder.model.heads import TrimformerWithHead


@dataclasses.dataclass(frozen=True)
class Result:
    """A model in its final shape, on the CPU, and what belongs to it.

    tokenizer: of the model, where it is another one than that which it started with. notes: sentences for the report on
    what was decided and why. handed: what the stage after it may go on from, see ``handed.py``.
    """

    model: TrimformerWithHead
    tokenizer: PreTrainedTokenizerBase | None = None
    notes: Sequence[str] = ()
    handed: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
