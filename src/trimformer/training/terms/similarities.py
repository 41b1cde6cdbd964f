"""Distillation of how alike the texts of a batch are (Passalis & Tefas, 2018, section 3; with the softmax and the
temperature of SEED: Fang et al., 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional as F

from ...encoder.model.heads import Kind
from .base import TERMS, Term


class SimilaritiesSettings(BaseModel):
    similarities: float = Field(0.0, ge=0, description="embedding: distillation of how alike the texts of a batch are")
    similarity_temperature: float = Field(0.05, gt=0, description="of both softmaxes over the cosines in a batch")


@TERMS.add("similarities")
class SimilaritiesTerm(Term):
    """The divergence of the distributions that the cosines of a text to the others of its batch make."""

    name = "similarities"
    order = 7
    Settings = SimilaritiesSettings
    kinds = ("embedding",)

    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        return similarity_loss(out.logits, target.logits, self.settings.similarity_temperature)


def similarity_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softmax(cosines / τ) over the other texts, a mean over texts; 0 for fewer than three.

    student, teacher: (batch, their sizes), which may differ.
    """
    if len(student) < 3:
        return student.sum() * 0.0  # one other text is the nearest with certainty
    alone = torch.eye(len(student), dtype=torch.bool, device=student.device)
    logs = []
    for vectors in (student, teacher):
        unit = F.normalize(vectors.float(), dim=-1)
        others = (unit @ unit.T)[~alone].view(len(unit), -1)  # without itself
        logs.append(F.log_softmax(others / temperature, -1))
    return F.kl_div(logs[0], logs[1], log_target=True, reduction="batchmean")
