"""What several terms measure distances with; each is a mean over real tokens, so that padding changes none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..encoder.model.heads import Kind
from ..encoder.model.heads.embedding import vector_loss
from ..encoder.parts.tokens import near
from ..encoder.parts.trace import AttentionTrace


def logit_loss(kind: Kind, student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """τ² KL(teacher ‖ student) of the softened distributions (Hinton et al., 2015); squared error for regression.
    For embedding one minus the cosine of the vectors, and their squared distance.

    A mean over texts; over real tokens for tokens; over both ends, each a distribution over the tokens, for spans; for
    several labels the mean over labels of the divergence between the two-way distributions.
    """
    student, teacher = student.float(), teacher.float()
    if kind == "regression":
        return F.mse_loss(student, teacher)
    if kind == "embedding":
        return vector_loss(student, teacher)
    student, teacher = student / temperature, teacher / temperature
    if kind in ("multilabel", "ranking"):  # a label is a choice between the logit and 0
        student, teacher = (torch.stack([x, torch.zeros_like(x)], -1).flatten(0, -2) for x in (student, teacher))
    elif kind == "tokens":
        student, teacher = student[mask.bool()], teacher[mask.bool()]
    elif kind == "spans":
        padded = ~mask.bool()[..., None]
        student, teacher = (removed(x, padded).transpose(1, 2).flatten(0, 1) for x in (student, teacher))
    logs = F.log_softmax(student, -1), F.log_softmax(teacher, -1)
    return temperature**2 * F.kl_div(*logs, log_target=True, reduction="batchmean")


def squared_loss(kind: Kind, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of logits (Ba and Caruana, 2014); of tokens and spans over real tokens alone."""
    student, teacher = student.float(), teacher.float()
    if kind in ("tokens", "spans"):
        student, teacher = student[mask.bool()], teacher[mask.bool()]
    return F.mse_loss(student, teacher)


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Mean squared error of hidden states (batch, n, hidden), averaged over the layers (TinyBERT, section 3.1)."""
    real, nothing = mask.bool(), torch.zeros((), device=mask.device)  # nothing: the distance of a state from itself
    terms = [
        nothing if s is t else F.mse_loss(s[real].float(), t[real].float())
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(terms).mean()


def real_pairs(mask: Tensor) -> Tensor:
    """(batch, n, n) boolean: real queries with real keys."""
    real = mask.bool()
    return real[:, :, None] & real[:, None]


def attended_pairs(mask: Tensor, *traces: AttentionTrace) -> Tensor:
    """(batch, heads or 1, n, n) boolean: real queries with the real keys that all of these layers attend to."""
    pairs, n, device = real_pairs(mask)[:, None], mask.shape[1], mask.device
    for trace in traces:
        if trace.window is not None:
            pairs = pairs & near(n, trace.window, device)
        if trace.pattern is not None:
            pairs = pairs & trace.pattern.allowed(n, trace.query.shape[1], device)
    return pairs


def removed(scores: Tensor, where: Tensor) -> Tensor:
    """Scores that a softmax turns into 0. Finite: minus infinity on both sides would make their difference NaN."""
    return scores.masked_fill(where, torch.finfo(scores.dtype).min)


def divergence(student: Tensor, teacher: Tensor, pairs: Tensor, mask: Tensor) -> Tensor:
    """KL(teacher ‖ student) of the rows of scores (batch, heads, n, n), a mean over heads and real queries.

    pairs: (batch, heads or 1, n, n) boolean, the keys that each query has.
    """
    ours, theirs = (F.log_softmax(removed(scores.float(), ~pairs), -1) for scores in (student, teacher))
    rows = F.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1)
    return rows.transpose(1, 2)[mask.bool()].mean()
