"""FastBERT: exits on a fine-tuned model that stays as it is, which learn from its own last answers.

Liu, Zhou, Wang, Zhao, Deng and Ju, "FastBERT: a Self-distilling BERT with Adaptive Inference Time", 2020, section 3.
The backbone and the last head, the teacher, are frozen; each exit, a student, minimises the divergence of its answer
from the teacher's. No label is read. The uncertainty of an answer is its entropy divided by log N, and a text leaves
where it is below Speed, here the threshold.

The paper writes KL(p_s || p_t) and its code computes KL(p_t || p_s), which is what is computed here. Where the paper is
left: the exits have no attention of their own and read the mean over the tokens, by default there are fewer of them,
and the threshold is chosen for a budget. What the stage's objective says is added for each exit; with ``task: 0`` it
says nothing, as in the paper.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ...training.distill import logit_loss
from ...training.settings import ObjectiveSettings
from ..base import Standard, register
from .base import ExitSettings
from .frozen import FrozenExits


class FastBertSettings(ExitSettings):
    """Settings of FastBERT."""

    name: Literal["fastbert"] = "fastbert"


@register
class FastBert(FrozenExits):
    """Exits that learn the last head's answers on a frozen model; a text leaves where the entropy is low."""

    name = "fastbert"
    Settings = FastBertSettings
    standard = Standard(stage="exits", objective=ObjectiveSettings(task=0.0), repair=None)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The sum over the exits of their distance from the last head, and of what the objective says."""
        out, losses = self.heads(batch)
        kind, mask, total = self.context.task.kind, batch["attention_mask"], sum(losses[1:-1], losses[0])
        for logits in out.exit_logits:
            total = total + logit_loss(kind, logits, out.logits.detach(), mask, 1.0)
        return total

    def notes(self) -> list[str]:
        labels = self.objective.reads_answers
        return [f"the exits learned from the last head{' and from the objective' if labels else ' alone'}."]
