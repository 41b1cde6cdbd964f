"""The distances between a student and its teacher; each is a mean over real tokens, so that padding changes none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..encoder.model.heads import Kind
from ..encoder.parts.attention import near
from ..encoder.parts.trace import AttentionTrace
from .settings import Relation


def logit_loss(kind: Kind, student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """τ² KL(teacher ‖ student) of the softened distributions (Hinton et al., 2015); squared error for regression.

    A mean over texts; over real tokens for tokens; over both ends, each a distribution over the tokens, for spans; for
    several labels the mean over labels of the divergence between the two-way distributions.
    """
    student, teacher = student.float(), teacher.float()
    if kind == "regression":
        return F.mse_loss(student, teacher)
    student, teacher = student / temperature, teacher / temperature
    if kind == "multilabel":  # a label is a choice between the logit and 0
        student, teacher = (torch.stack([x, torch.zeros_like(x)], -1).flatten(0, -2) for x in (student, teacher))
    elif kind == "tokens":
        student, teacher = student[mask.bool()], teacher[mask.bool()]
    elif kind == "spans":
        padded = ~mask.bool()[..., None]
        student, teacher = (_removed(x, padded).transpose(1, 2).flatten(0, 1) for x in (student, teacher))
    logs = F.log_softmax(student, -1), F.log_softmax(teacher, -1)
    return temperature**2 * F.kl_div(*logs, log_target=True, reduction="batchmean")


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Mean squared error of hidden states (batch, n, hidden), averaged over the layers (TinyBERT, section 3.1)."""
    real = mask.bool()
    terms = [F.mse_loss(s[real].float(), t[real].float()) for s, t in zip(student, teacher, strict=True)]
    return torch.stack(terms).mean()


def attention_loss(student: Sequence[AttentionTrace], teacher: Sequence[AttentionTrace], mask: Tensor) -> Tensor:
    """Mean squared error of the scores before the softmax, averaged over heads and layers (TinyBERT, section 3.1).

    Jiao et al. (2020) sum over the layers; a mean keeps the weight of the term when layers lose their attention. Over
    pairs of real tokens within the layer's window; 0 without any layer.
    """
    terms = []
    for s, t in zip(student, teacher, strict=True):
        error = (s.scores.float() - t.scores.float()).square().mean(1)
        terms.append(error[_pairs(mask, t.window)].mean())
    return torch.stack(terms).mean() if terms else torch.zeros((), device=mask.device)


def relation_loss(
    student: AttentionTrace, teacher: AttentionTrace, mask: Tensor, relations: Iterable[Relation], heads: int
) -> Tensor:
    """The sum over the relations of KL(teacher ‖ student), each a mean over queries and heads.

    ``attention`` is the attention distribution of the layer's own heads (MiniLM: Wang et al., 2020, section 3.1).
    ``query``, ``key``, ``value`` are softmax(XXᵀ/√d) of these, their heads joined and split into ``heads`` relation
    heads of size d (MiniLM v2: Wang et al., 2021); with the layer's own number of heads ``value`` is the
    value-relation of MiniLM (section 3.2).
    """
    total = torch.zeros((), device=mask.device)
    for relation in relations:
        if relation == "attention":
            scores, pairs = (student.scores, teacher.scores), _pairs(mask, teacher.window)
        else:
            scores = self_relation(getattr(student, relation), heads), self_relation(getattr(teacher, relation), heads)
            pairs = _pairs(mask)
        total = total + _divergence(*scores, pairs[:, None], mask)
    return total


def self_relation(x: Tensor, heads: int) -> Tensor:
    """XXᵀ/√d of queries, keys or values (batch, their heads, n, size): (batch, heads, n, n)."""
    x = x.float().transpose(1, 2).flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2)
    return x @ x.transpose(-1, -2) / math.sqrt(x.shape[-1])


def _divergence(student: Tensor, teacher: Tensor, pairs: Tensor, mask: Tensor) -> Tensor:
    """KL(teacher ‖ student) of the rows of scores (batch, heads, n, n), a mean over heads and real queries."""
    ours, theirs = (F.log_softmax(_removed(scores.float(), ~pairs), -1) for scores in (student, teacher))
    rows = F.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1)
    return rows.transpose(1, 2)[mask.bool()].mean()


def _pairs(mask: Tensor, window: int | None = None) -> Tensor:
    """(batch, n, n) boolean: real queries with real keys, within the window if there is one."""
    real = mask.bool()
    pairs = real[:, :, None] & real[:, None]
    return pairs if window is None else pairs & near(mask.shape[1], window, mask.device)


def _removed(scores: Tensor, where: Tensor) -> Tensor:
    """Scores that a softmax turns into 0. Finite: minus infinity on both sides would make their difference NaN."""
    return scores.masked_fill(where, torch.finfo(scores.dtype).min)
