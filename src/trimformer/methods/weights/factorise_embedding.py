"""The embedding tables become narrow ones and a linear map behind them, by truncated singular value decomposition.

Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", 2020, section 3.1, train an
encoder whose tables are narrower than its layers. Here the tables of an encoder that is trained already are replaced.
ALBERT has its norm between tables and map, and so has the shape that is left. That costs nothing: the norm of the
narrow vectors is made to give what the norm of the wide ones gave. With P the plane of the largest singular values and
x = P a a vector whose mean is 0, the narrow vector is sqrt(k / e) Q a, where Q has orthonormal columns that are
orthogonal to the vector of ones: its mean is 0, too, and its variance over k dimensions that of x over e. So k
dimensions hold k - 1 singular values, and with as many dimensions as before the encoder answers as before.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ...encoder.model.heads import TrimformerForMaskedLM, TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ..base import DISTILLED, Method, MethodSettings, Standard, register, worded
from ..result import Result

PLACE = "encoder.embeddings"
TABLES = ("word", "position", "segment")


class FactoriseEmbeddingSettings(MethodSettings):
    """Settings of factorise-embedding."""

    name: Literal["factorise-embedding"] = "factorise-embedding"
    width: int = Field(ge=2, description="dimensions of the embedding tables")

    @property
    def label(self) -> str:
        return f"{worded(self.name)}, {self.width} wide"


class Plane(NamedTuple):
    """basis: (width, rank), orthonormal, of the largest singular values first. lost: share of the squared others."""

    basis: Tensor
    lost: float


@register
class FactoriseEmbedding(Method):
    """Narrow embedding tables and a map to the width of the layers; a masked-LM head stays tied to them."""

    name = "factorise-embedding"
    Settings = FactoriseEmbeddingSettings
    example = {"width": 8}  # noqa: RUF012  (never written to)
    trains = False
    standard = Standard(stage="factorise", objective=DISTILLED)

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        now = config.embedding_size or config.hidden_size
        if settings.width > now:
            raise TrimformerError(
                f"The embedding tables are {now} wide, and width={settings.width} would widen them: ask for at most "
                f"{now}."
            )
        cls.check(settings, config)
        return type(config).from_dict(config.to_dict() | {"embedding_size": settings.width})

    def result(self) -> Result:
        """The model with narrow tables; its layers are as they were."""
        width = self.settings.width
        model, lost = factorised(self.model, self.after(self.settings, self.model.config))
        notes = [
            f"The embedding tables are {width} wide, with a map to {model.config.hidden_size} behind them; they lost "
            f"{lost:.1%} of their squared singular values before training."
        ]
        if isinstance(model, TrimformerForMaskedLM):
            notes.append("The masked-LM head is as narrow as the tables now, and only a start: train it.")
        return Result(model, notes=notes)


def factorised(model: TrimformerWithHead, config: TrimformerConfig) -> tuple[TrimformerWithHead, float]:
    """A copy of this configuration, and the share of the squared singular values that its tables have lost."""
    width = config.embedding_size
    assert width is not None
    weights = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
    tables = {f"{PLACE}.{name}.weight" for name in TABLES} & weights.keys()
    centred = {name: (table := weights[name].double()) - table.mean(1, keepdim=True) for name in tables}
    plane = main_plane(list(centred.values()), width - 1)
    wide, rank = plane.basis.shape
    narrow = without_mean(width)[:, :rank] * (width / wide) ** 0.5
    weights |= {name: table @ plane.basis @ narrow.T for name, table in centred.items()}
    norm, bias = weights[f"{PLACE}.norm.weight"].double(), weights.pop(f"{PLACE}.norm.bias", None)
    factorised_before = f"{PLACE}.projection.weight" in weights
    outwards = weights[f"{PLACE}.projection.weight"].double() if factorised_before else torch.eye(wide).double()
    shift = weights[f"{PLACE}.projection.bias"].double() if factorised_before else torch.zeros(wide).double()
    weights[f"{PLACE}.projection.weight"] = (outwards * norm) @ plane.basis @ narrow.T * (wide / width)
    weights[f"{PLACE}.projection.bias"] = shift if bias is None else shift + outwards @ bias.double()
    if isinstance(model, TrimformerForMaskedLM):
        inwards = (plane.basis @ without_mean(width)[:, :rank].T).T
        for name in ("head.dense.weight", "head.dense.bias"):
            if name in weights:
                weights[name] = inwards @ weights[name].double()
        weights["head.output.weight"] = weights[f"{PLACE}.word.weight"]
    made: TrimformerWithHead = type(model)(config)
    # The norms of the new width start as norms do.
    made.load_state_dict({n: w.to(model.dtype) for n, w in weights.items() if not _is_norm(n)}, strict=False)
    return made.train(model.training), plane.lost


def main_plane(tables: list[Tensor], rank: int) -> Plane:
    """The plane in which vectors of these tables lie, a row of each of which is drawn and summed, as far as it can.

    Each table counts by the mean over its rows, so that a few positions weigh as much as many words.
    """
    values, vectors = torch.linalg.eigh(sum(table.T @ table / len(table) for table in tables))  # rising
    squared = values.clamp(min=0).flip(0)
    rank = min(rank, int((squared > squared[0] * 1e-12).sum()))
    return Plane(vectors.flip(1)[:, :rank], float(squared[rank:].sum() / squared.sum()))


def without_mean(width: int) -> Tensor:
    """(width, width - 1): orthonormal columns that are orthogonal to the vector of ones."""
    ones = torch.ones(width, 1, dtype=torch.float64)
    return torch.linalg.qr(torch.cat([ones, torch.eye(width, dtype=torch.float64)[:, 1:]], 1)).Q[:, 1:]


def _is_norm(name: str) -> bool:
    return name.startswith((f"{PLACE}.norm.", "head.norm."))
