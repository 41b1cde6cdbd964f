"""DeeBERT: exits on a fine-tuned model that stays as it is, which learn from the labels.

Xin, Tang, Lee, Yu and Lin, "DeeBERT: Dynamic Early Exiting for Accelerating BERT Inference", 2020. Stage 1 is the
fine-tuned model; in stage 2 it is frozen, and the exits minimise the sum of their losses. A text leaves where the
entropy of an exit's answer is below a threshold, here divided by log N so that it lies between 0 and 1.

Where the published code is left: nothing is dropped in the frozen layers, so that the exits learn from what they will
see, the threshold is chosen for a budget, and by default there are fewer exits, which read the mean over the tokens.
"""

from __future__ import annotations

from typing import Literal

from ...training.settings import ObjectiveSettings
from ..base import Standard, register
from .base import ExitSettings
from .frozen import FrozenExits


class DeeBertSettings(ExitSettings):
    """Settings of DeeBERT."""

    name: Literal["deebert"] = "deebert"


@register
class DeeBert(FrozenExits):
    """Exits that learn the stage's objective on a frozen model; a text leaves where the entropy is low."""

    name = "deebert"
    Settings = DeeBertSettings
    standard = Standard(stage="exits", objective=ObjectiveSettings(), repair=None)
