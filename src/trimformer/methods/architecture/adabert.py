"""AdaBERT: cells of convolutions, pools and nothing in the place of a Transformer's layers, searched for one task.

Chen, Li, Qiu, Wang, Li, Ding, Deng, Huang, Lin and Zhou, "AdaBERT: Task-Adaptive BERT Compression with Differentiable
Neural Architecture Search", 2020. All layers are the same cell. Which operation each of its nodes makes of which
earlier node, and how many cells there are, have logits α; a pass draws shares of all candidates with Gumbel noise.
In turn the α take a step on held-out rows and the weights one on the others, both on the loss of the labels, that of
what the teacher's layers know (``knowledge.py``), and, the α, the expected cost of the cells.

Where the published method is left: a cell reads the layer before it, and not the one before that as well; which two
nodes a node may read is given, the two before it; the sum of the nodes is added to the input of the cell; the weights
go on from the search, and are not trained anew; and the α learn faster in a shorter stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor
from torch.nn import functional as F

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.layers.cnn import OPERATIONS, cell_shape
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...measure.cost import Kinds
from ...training.settings import ObjectiveSettings
from ..base import Context, Standard, register
from .alternating import Choosing, ChoosingSettings
from .knowledge import Knowing, Probes, fitted
from .shares import within_for_each

TEMPERATURE = 1.0
"""Of the draws."""
READS = 2
"""The nodes that a node reads, at most."""
KIND = "cnn"
ZERO = "zero"


class AdaBERTSettings(ChoosingSettings):
    """Settings of AdaBERT."""

    name: Literal["adabert"] = "adabert"
    target: float = Field(1.0, gt=0, le=1, description="share of the cost of the dearest cells that may be left")
    cost_weight: float = Field(4.0, ge=0, description="β, weight of the expected cost in the loss of the α")
    knowledge: float = Field(0.8, ge=0, le=1, description="γ, share of the teacher's knowledge in the loss")
    layers: PositiveInt = Field(4, description="cells, at most")
    nodes: PositiveInt = Field(2, description="of a cell")
    operations: list[str] = Field(
        list(OPERATIONS), min_length=1, description="what a node may make of an earlier one, beside nothing at all"
    )
    rows: int = Field(1000, ge=1, description="rows of the training split that the teacher's probes are fitted to")

    @field_validator("operations")
    @classmethod
    def _known(cls, operations: list[str]) -> list[str]:
        for operation in operations:
            if operation not in OPERATIONS:
                raise ValueError(f"unknown operation {operation!r}, use some of {', '.join(OPERATIONS)}")
        return list(dict.fromkeys(operations))


@register
class AdaBERT(Choosing):
    """Learn a cell of operations over neighbouring tokens, and how many of them a student needs."""

    name = "adabert"
    Settings = AdaBERTSettings
    example = {  # noqa: RUF012  (never written to)
        "layers": 3, "nodes": 2, "operations": ["conv3", "max-pool", "skip"], "held_out": 0.1, "rows": 16,
    }  # fmt: skip
    kinds = ("classification",)
    needs_dense = True
    trains_students = True
    standard = Standard(start=KIND, repair=ObjectiveSettings(logits=1.0))

    def __init__(self, settings: Any, context: Context) -> None:
        teacher = context.teacher
        assert teacher is not None, "a method that needs the dense model is given it"
        self.edges = [(node, of) for node in range(1, settings.nodes + 1) for of in range(max(0, node - READS), node)]
        context = dataclasses.replace(
            context, model=with_cells(context.model, self.after(settings, context.model.config))
        )
        context = self.begin(settings, context)
        self.bare, *self.alone = (cell_shape([own]) for own in ([], *([(name, 0)] for name in settings.operations)))
        self.dearest = self.most_of(settings)
        super().__init__(settings, context, [len(settings.operations) + 1] * len(self.edges) + [settings.layers])
        compared = teacher if context.objective.reads_states else self.model  # states may come out as the teacher's
        probes = Probes(settings.layers, compared.config.hidden_size, len(context.task.labels))
        self.networks["probes"] = context.network("probes", probes)
        forward = context.accelerator.prepare_model(teacher.eval(), evaluation_mode=True)
        theirs = fitted(teacher, context, settings.rows)
        self.knowing = Knowing(self.objective, settings.knowledge, forward, theirs, self.networks["probes"])
        self.objective: Any = self.knowing

    @classmethod
    def check_beside(cls, config: TrimformerConfig, dense: TrimformerConfig, same_tokens: bool) -> None:
        if not same_tokens:
            raise TrimformerError(
                "The student reads texts with another tokenizer than the dense model, whose layers are to teach it: "
                "let it start with the dense model's word table (vectors: teacher)."
            )

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        """All cells, with all operations."""
        cls.check(settings, config)
        nodes = [
            [(name, of) for of in range(max(0, node - READS), node) for name in settings.operations]
            for node in range(1, settings.nodes + 1)
        ]
        changes = {
            "layer_kind": KIND,
            "layers": [cell_shape(nodes).to_dict()] * settings.layers,
            "sharing": None,
            "attention_positions": "none",
            "relative_heads": None,
            "norm_bias": True,
            "classifier_pooling": "mean",  # a cell brings the first token no more than its neighbours
        }
        return TrimformerConfig.from_dict(config.to_dict() | changes)

    def gates(self) -> Gates:
        return self.kept([F.gumbel_softmax(own, TEMPERATURE, dim=0) for own in self.alphas.logits])

    def kept(self, shares: Sequence[Tensor]) -> Gates:
        """The gates of these shares; with shares of 1 they are hard."""
        *edges, depths = shares
        operations = torch.cat([own[:-1] for own in edges])
        return Gates(operations=[operations] * len(depths), layers=at_least(depths))

    def expected(self, shares: Sequence[Tensor]) -> Tensor:
        *edges, depths = shares
        return self.aim.cost(Gates(), self.cells(torch.stack(edges).sum(0)[:-1], depths)) / self.dearest

    def cells(self, expected: Tensor, depths: Tensor) -> Kinds:
        """The layers as cost counts them. expected: of each operation how many there are in a cell."""
        parts = [(self.bare, 1 - expected.sum()), *zip(self.alone, expected, strict=True)]
        return [[(shape, keep * share) for shape, share in parts] for keep in at_least(depths)]

    def most_of(self, settings: Any) -> Tensor:
        """The cost of cells that have the dearest operation wherever there can be one."""
        depths = F.one_hot(torch.tensor(settings.layers - 1), settings.layers).float()
        every = len(self.edges) * torch.eye(len(settings.operations))
        return torch.stack([self.aim.cost(Gates(), self.cells(own, depths)) for own in every]).max()

    def hard(self, choice: Sequence[int]) -> list[Tensor]:
        """As for all, without what would read a node that has nothing."""
        choice, zero = list(choice), len(self.alone)
        empty: set[int] = set()
        for node in range(1, self.edges[-1][0] + 1):
            own = [place for place, edge in enumerate(self.edges) if edge[0] == node]
            for place in own:
                choice[place] = zero if self.edges[place][1] in empty else choice[place]
            if all(choice[place] == zero for place in own):
                empty.add(node)
        return super().hard(choice)

    def within(self, shares: Sequence[Tensor], limit: float) -> list[int]:
        """As for all, by the number of cells, which all operations cost as often."""
        return within_for_each(shares, self.cost, limit)

    def held_out_loss(self, model: Any) -> Tensor:
        return self.knowing(model, self.held_out.batch(self.step + 1), self.gates())

    def pull(self, now: float) -> Tensor:
        return self.settings.cost_weight * self.expected_now()

    def update(self, step: int) -> dict[str, float]:
        self.networks["probes"].step()
        return super().update(step)

    def record(self, step: int) -> None:
        *edges, depths = self.alphas.shares()
        names = [*self.settings.operations, ZERO]
        for name, shares in zip(names, torch.stack(edges, 1).tolist(), strict=True):
            self.history.add(f"share of {name}", step, shares)
        self.history.add("share of layers", step, (at_least(depths).sum() / len(depths)).item())

    def decide(self) -> Gates:
        return self.kept(self.hard(self.choice()))

    def notes(self) -> list[str]:
        choice = self.choice()
        *edges, depths = (int(own.argmax()) for own in self.hard(choice))
        names = [*self.settings.operations, ZERO]
        said = ", ".join(
            f"node {node} {names[index]} of {f'node {of}' if of else 'the input'}"
            for (node, of), index in zip(self.edges, edges, strict=True)
        )
        return [
            f"{depths + 1} of at most {self.settings.layers} cells stay: {said}.",
            f"{self.cost(choice):.3f} of the dearest cells' {self.aim.cost} stay (at most {self.limit:.3g}).",
        ]


def at_least(depths: Tensor) -> Tensor:
    """The probability that there are at least 1, 2, … layers, from those of each number of layers."""
    return depths.flip(0).cumsum(0).flip(0)


def with_cells(model: TrimformerWithHead, config: TrimformerConfig) -> TrimformerWithHead:
    """A model of this shape, with random cells between the words and the head of another one."""
    made = type(model)(config)
    known = {name: own for name, own in model.state_dict().items() if ".layers." not in name}
    made.load_state_dict({name: known.get(name, own) for name, own in made.state_dict().items()})
    return made
