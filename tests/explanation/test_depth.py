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
    layer ``known`` on."""

    kind = "classification"
    scale = 1.0
    config = SimpleNamespace(num_hidden_layers=3, hidden_size=2, label_names=["a", "b"])

    def __init__(self, known: int) -> None:
        super().__init__()
        self.known, self.weight = known, nn.Parameter(torch.zeros(1))
        self.encoder = SimpleNamespace(norm=nn.Identity())
        self.head = SimpleNamespace(pool=lambda x, mask: x[:, 0])

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool, **_: Any) -> Any:
        sure = (input_ids[:, 2] % 4 - 1.5) * 10  # -15, -5, 5 or 15
        states = [torch.stack([sure if layer >= self.known else 0 * sure, 0 * sure], 1)[:, None] for layer in range(4)]
        return SimpleNamespace(hidden_states=states, logits=torch.stack([sure, -sure], 1) * self.scale)


def test_texts_leave_where_the_answer_is_known() -> None:
    rows = toy_data(200, seed=0)
    for known in (1, 2):
        found = depth(Toy(known), rows, rows)  # type: ignore[arg-type]
        assert found == Depth([100 * (layer == known) for layer in (1, 2, 3)], 1.0, 100)


def test_texts_that_the_model_is_unsure_of_need_all_layers() -> None:
    rows, model = toy_data(200, seed=0), Toy(1)
    model.scale = 0.05  # 15 is then a logit of 0.75 against -0.75, which is no more than 82 % sure
    found = depth(model, rows, toy_data(60, seed=3))  # type: ignore[arg-type]
    assert found == Depth([0, 0, 60], 1.0, 200)


def test_an_exit_that_is_wrong_is_counted() -> None:
    """Exits are fitted on texts that are known after one layer, and asked for such that are not: they answer alike."""
    rows, other = toy_data(200, seed=0), toy_data(60, seed=3)

    class Late(Toy):
        def forward(self, input_ids: Tensor, **given: Any) -> Any:
            out = super().forward(input_ids, **given)
            if len(seen) >= 200:  # the second pass
                out.hidden_states[1] = torch.tensor([15.0, 0.0]).expand(len(input_ids), 1, 2)
            seen.extend(input_ids)
            return out

    seen: list[Tensor] = []
    found = depth(Late(1), rows, other)  # type: ignore[arg-type]
    assert found is not None
    assert found.executed == [60, 0, 0]
    assert 0.2 < found.same < 0.8


@pytest.mark.parametrize("kind", ["regression", "multilabel", "tokens", "spans"])
def test_nothing_is_said_of_other_kinds(kind: str) -> None:
    stage: Any = context(kind=kind)
    assert depth(stage.model, stage.train, stage.train) is None


def said(executed: list[int]) -> str:
    found = dataclasses.replace(explanation(), depth=Depth(executed, 0.993, 1024))
    (sentence,) = [line for line in conclude(found) if "exit behind each layer" in line]
    return sentence


def test_what_is_said_of_it() -> None:
    early = said([0, 60, 40])
    assert early.startswith("With an exit behind each layer 60 % of the selection texts need at most 2 of 3 layers, ")
    assert "and 99.3 % of the answers there are those of all layers." in early
    assert "trimformer compress 'my model' --method pabee" in early
    late = said([0, 4, 96])
    assert late.endswith("Exits would save little here.")
    assert "--method" not in late
    assert not any("exit" in line for line in conclude(explanation()))


def test_the_table_adds_up() -> None:
    found = dataclasses.replace(explanation(), depth=Depth([20, 40, 20], 1.0, 500))
    (table,) = [one for one in tables(found) if one.title == "Layers that texts need"]
    assert table.rows == [["1", "25 %", "25 %"], ["2", "50 %", "75 %"], ["3", "25 %", "100 %"]]
    assert [one.title for one in tables(explanation())] == ["Layers", "Precisions"]
