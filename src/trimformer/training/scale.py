"""Numbers are learned in units of their own standard deviation, whatever the user's unit is.

A head starts near 0 and moves by small steps, so labels around 200,000 would never be reached. The standardisation is
part of the head's last layer before and after training: a saved model answers in the user's unit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from ..encoder.model.heads import TrimformerWithHead
from ..tasks.encoding.encoded import Encoded


@dataclasses.dataclass(frozen=True)
class Scale:
    """mean and sd: of the training labels, in the user's unit; 0 and 1 where labels are no numbers."""

    mean: float = 0.0
    sd: float = 1.0

    @classmethod
    def of(cls, train: Encoded) -> Scale:
        """That of these rows. Labels that are all the same have an sd of 1."""
        if train.kind != "regression":
            return cls()
        labels = np.asarray(train.examples.labels, dtype=np.float64)
        return cls(float(labels.mean()), float(labels.std()) or 1.0)

    def rows(self, data: Encoded) -> Encoded:
        """The rows with standardised labels."""
        if data.kind != "regression":
            return data
        labels = np.asarray(data.examples.labels, dtype=np.float64)
        return dataclasses.replace(data, labels=((labels - self.mean) / self.sd).astype(np.float32))

    def unfold(self, model: TrimformerWithHead) -> TrimformerWithHead:
        """The model, changed so that it answers ``(y - mean) / sd`` where it answered ``y``."""
        return self._rescaled(model, 1 / self.sd, -self.mean / self.sd)

    def fold(self, model: TrimformerWithHead) -> TrimformerWithHead:
        """The model, changed so that it answers ``sd * y + mean`` where it answered ``y``."""
        return self._rescaled(model, self.sd, self.mean)

    def _rescaled(self, model: TrimformerWithHead, factor: float, shift: float) -> TrimformerWithHead:
        if self != Scale():
            heads: list[Any] = [model.head, *model.exits.values()]
            with torch.no_grad():  # in double precision, so that each weight is rounded once
                for output in (head.output for head in heads):
                    output.weight.copy_(output.weight.double() * factor)
                    output.bias.copy_(output.bias.double() * factor + shift)
            if model.config.exits is not None:
                tolerance = model.config.exits["tolerance"] * factor
                model.config.exits = model.config.exits | {"tolerance": tolerance}
        return model
