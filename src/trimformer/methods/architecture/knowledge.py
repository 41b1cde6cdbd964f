"""What the layers of a teacher know of a task, and how far the layers of a student know the same: AdaBERT's loss.

Chen, Li, Qiu, Wang, Li, Ding, Deng, Huang, Lin and Zhou, "AdaBERT", 2020, section 3.1: a linear map of the mean of a
layer's states, a probe, says the label. Those of the teacher are fitted and then stay; those of the student learn with
it to say what the teacher's say. How much a layer of the teacher counts for a text is how sure its probe is of the
label there, so that each text is learned from the layers that can tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoder.model.heads import IGNORED, TrimformerWithHead
from ...training.evaluate import evaluating
from ...training.objective import Objective
from ...training.paired import student_inputs
from ..base import Context

DECAY = 1e-4
"""Of the teacher's probes while they are fitted."""
STEPS = 100


class Probes(nn.Module):
    """A probe for each layer: states (batch, n, hidden) of each -> logits (batch, layers, labels)."""

    def __init__(self, layers: int, hidden: int, labels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(hidden, labels) for _ in range(layers))

    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        return self.read(torch.stack([_mean(own.float(), mask) for own in states], 1))

    def read(self, means: Tensor) -> Tensor:
        """(batch, layers, hidden) -> (batch, layers, labels)"""
        return torch.stack([probe(means[:, layer]) for layer, probe in enumerate(self.maps)], 1)


def fitted(teacher: TrimformerWithHead, context: Context, rows: int) -> Probes:
    """The probes of all layers of a teacher, fitted to the labels of so many training rows."""
    means, labels = [], []
    with torch.no_grad(), evaluating(teacher):
        for batch in context.sample(context.train, rows):
            states = teacher(**student_inputs(batch), output_hidden_states=True).hidden_states[1:]
            means.append(torch.stack([_mean(own.float(), batch["attention_mask"]) for own in states], 1))
            labels.append(batch["labels"])
    known, wanted = torch.cat(means), torch.cat(labels)
    probes = Probes(known.shape[1], known.shape[2], len(context.task.labels)).to(known.device)
    optimizer = torch.optim.LBFGS(probes.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        every = probes.read(known)
        loss = F.cross_entropy(every.flatten(0, 1), wanted[:, None].expand(every.shape[:2]).flatten())
        loss = loss + DECAY * torch.stack([weight.square().sum() for weight in probes.parameters()]).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return probes.requires_grad_(False)


def knowledge_loss(student: Tensor, teacher: Tensor, labels: Tensor, depths: Tensor) -> Tensor:
    """Σ_K p_K Σ_j w_j KL(teacher's probe t(j) ‖ student's probe j) over the first K layers of the student.

    student: logits (batch, layers, labels); teacher: (batch, its layers, labels). labels: (batch,), IGNORED where none
    is known: its layers then count alike. depths: p, (layers,), the probability that the student has so many layers.
    t spreads these evenly over the teacher's; w is a softmax over them of the log-probability of the label.
    """
    ours, theirs = student.float().log_softmax(-1), teacher.float().log_softmax(-1)
    known = labels != IGNORED
    sure = theirs.gather(2, labels.where(known, 0)[:, None, None].expand(-1, theirs.shape[1], 1))[..., 0]
    sure = sure * known[:, None]
    total = ours.new_zeros(())
    for count, share in enumerate(depths, 1):
        taught_by = [max(0, (layer + 1) * theirs.shape[1] // count - 1) for layer in range(count)]
        apart = F.kl_div(ours[:, :count], theirs[:, taught_by], log_target=True, reduction="none").sum(-1)
        total = total + share * (sure[:, taught_by].softmax(1) * apart).sum(1).mean()
    return total


class Knowing:
    """The objective of a stage and the knowledge of the teacher: (1 - γ) objective + γ knowledge."""

    def __init__(
        self,
        objective: Objective,
        share: float,
        teacher: Callable[..., Any],
        theirs: Probes,
        ours: Callable[..., Tensor],
    ) -> None:
        """share: γ. teacher: called on its device. theirs, ours: the probes of both."""
        self.objective, self.share = objective, share
        self.teacher, self.theirs, self.ours = teacher, theirs, ours

    def __call__(
        self, model: Callable[..., Any], batch: dict[str, Tensor], gates: Any = None, target: Any = None
    ) -> Tensor:
        """gates: also of layers, of which it takes the probabilities of the depths."""
        mask, seen = batch["attention_mask"], []

        def watched(**inputs: Any) -> Any:
            out = model(**(inputs | {"output_hidden_states": True}))
            seen.append(out.hidden_states[1:])
            return out

        loss = self.objective(watched, batch, gates, target)
        with torch.no_grad():
            states = self.teacher(**student_inputs(batch), output_hidden_states=True).hidden_states[1:]
            theirs = self.theirs(states, mask)
        there = gates.layers.to(loss.device)  # the probability that the student has at least so many layers
        depths = there - F.pad(there[1:], (0, 1))
        known = knowledge_loss(self.ours(seen[0], mask), theirs, batch["labels"], depths)
        return (1 - self.share) * loss + self.share * known


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """(batch, n, hidden) -> (batch, hidden), over real tokens."""
    real = mask.to(states.dtype)[..., None]
    return (states * real).sum(1) / real.sum(1).clamp(min=1)
