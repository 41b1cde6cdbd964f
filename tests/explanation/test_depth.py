"""How many layers texts need: exits in closed form find what is known early, and say nothing of other kinds."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.explanation.test_advice import explanation
from tests.learning import context, toy_data
from trimformer.explanation.advice import conclude
from trimformer.explanation.depth import depth
from trimformer.explanation.findings import Depth
from trimformer.explanation.tables import tables


class Toy(nn.Module):
    """A classifier of three layers: a text's third token says its answer, and how sure it is. States say so from the
    layer ``known`` on, and before of those texts alone whose third token is odd."""

    kind = "classification"
    config = SimpleNamespace(num_hidden_layers=3, hidden_size=2, label_names=["a", "b"], shapes=[])

    def __init__(self, known: int) -> None:
        super().__init__()
        self.known, self.weight = known, nn.Parameter(torch.zeros(1))
        self.encoder = SimpleNamespace(norm=nn.Identity())
        self.head = SimpleNamespace(pool=lambda x, mask: x[:, 0])

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool, **_: Any) -> Any:
        third = input_ids[:, 2]
        answer = torch.where(third % 4 < 2, -5.0, 5.0)
        early = torch.where(third % 2 == 1, answer, 0.0)
        known = [torch.stack([answer if layer >= self.known else early, 0 * answer], 1) for layer in range(4)]
        states = [own[:, None].expand(-1, input_ids.shape[1], -1) for own in known]
        return SimpleNamespace(hidden_states=states, logits=torch.stack([answer, -answer], 1))


@pytest.mark.parametrize("known", [1, 2, 3])
def test_texts_leave_where_their_answer_is_known(known: int) -> None:
    given, asked = toy_data(200, seed=0), toy_data(60, seed=3)
    found = depth(Toy(known), given, asked)  # type: ignore[arg-type]
    assert found is not None
    odd = sum(int(asked.ids[start + 2]) % 2 for start in asked.offsets[:-1])
    assert 0 < odd < 60
    expected = [0, 0, 0]
    expected[0] = 60 if known == 1 else odd
    expected[known - 1] += 60 - sum(expected)
    assert found == Depth(expected, 1.0, found.sure, 100)
    assert 0.5 <= found.sure < 1


def test_each_third_of_rows_that_are_alone_has_one_use() -> None:
    rows = toy_data(90, seed=0)
    assert depth(Toy(1), rows, rows) == Depth([30, 0, 0], 1.0, 0.5, 30)  # type: ignore[arg-type]


def test_where_exits_know_nothing_texts_need_all_layers() -> None:
    class Nothing(Toy):
        def forward(self, *given: Any, **others: Any) -> Any:
            out = super().forward(*given, **others)
            return SimpleNamespace(
                hidden_states=[torch.zeros_like(own) for own in out.hidden_states], logits=out.logits
            )

    found = depth(Nothing(1), toy_data(200, seed=0), toy_data(60, seed=3))  # type: ignore[arg-type]
    assert found is not None
    assert found.executed == [0, 0, 60]


def test_how_many_answers_stay_is_counted_on_other_texts() -> None:
    """Exits are right on the texts that they are fitted and chosen on, and say one label alone of those that count."""

    class Other(Toy):
        passes = 0

        def forward(self, input_ids: Tensor, **given: Any) -> Any:
            out = super().forward(input_ids, **given)
            if self.passes >= 200:
                out.hidden_states[1] = torch.tensor([5.0, 0.0]).expand(*input_ids.shape, 2)
            self.passes += len(input_ids)
            return out

    found = depth(Other(1), toy_data(200, seed=0), toy_data(60, seed=3))  # type: ignore[arg-type]
    assert found is not None
    assert found.executed == [60, 0, 0]
    assert 0.2 < found.same < 0.8


@pytest.mark.parametrize("kind", ["regression", "multilabel", "tokens", "spans"])
def test_nothing_is_said_of_other_kinds(kind: str) -> None:
    stage: Any = context(kind=kind)
    assert depth(stage.model, stage.train, stage.train) is None


def said(executed: list[int]) -> str:
    found = dataclasses.replace(explanation(), depth=Depth(executed, 0.993, 0.74, 1024))
    (sentence,) = [line for line in conclude(found) if "exit behind each layer" in line]
    return sentence


def test_what_is_said_of_it() -> None:
    early = said([0, 60, 40])
    assert early.startswith("With an exit behind each layer 60 % of the selection texts need at most 2 of 3 layers, ")
    assert "where one is at least 74 % sure, and 99.3 % of the answers are then those of all layers." in early
    assert "trimformer compress 'my model' --method fastbert" in early
    late = said([0, 4, 96])
    assert late.endswith("Exits would save little here.")
    assert "--method" not in late
    assert not any("exit" in line for line in conclude(explanation()))


def test_the_table_adds_up() -> None:
    found = dataclasses.replace(explanation(), depth=Depth([20, 40, 20], 1.0, 0.9, 500))
    (table,) = [one for one in tables(found) if one.title == "Layers that texts need"]
    assert table.rows == [["1", "25 %", "25 %"], ["2", "50 %", "75 %"], ["3", "25 %", "100 %"]]
    assert [one.title for one in tables(explanation())] == ["Layers", "Precisions"]
