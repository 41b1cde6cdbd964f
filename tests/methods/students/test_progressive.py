"""Progressive transfer: the layers learn one after another, and what was trained before holds still."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.learning import batches, context, make_method
from tests.models import tiny, with_layers
from trimformer import TrimformerError
from trimformer.methods import METHODS, Context
from trimformer.training.terms.attention import distribution_loss

TRANSFER = {"task": 0.0, "hidden": 1.0, "attention": 1.0, "attention_distance": "divergence"}


def moved(method: Any, before: dict[str, Tensor]) -> set[str]:
    """The parts whose weights are others than before: embeddings, head, and layers by their number."""
    after = method.model.state_dict()
    names = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    return {name.split(".")[2] if ".layers." in name else name.split(".")[-3] for name in names} - {"head"}


def stage_of(**others: Any) -> Context:
    return context(rows=48, objective=TRANSFER, teacher={"seed": 3}, **others)


def steps(method: Any, stage: Context, count: int) -> list[dict[str, float]]:
    done = [(step, batch) for step, batch in enumerate(batches(stage, stage.steps), 1)]
    logged = []
    for step, batch in done[method.step : method.step + count]:
        logged.append(method.micro_step(batch, 1.0))
        method.update(step)
    return logged


@pytest.mark.parametrize("below", [0.0, 0.1])
def test_each_layer_learns_in_its_turn_and_what_is_above_is_not_touched(below: float) -> None:
    stage = stage_of()  # 6 steps, 3 layers
    method = make_method("progressive", stage, below=below)
    for turn in range(3):
        before = {name: weight.clone() for name, weight in method.model.state_dict().items()}
        assert [line["layer"] for line in steps(method, stage, 2)] == [turn, turn]
        learned = moved(method, before)
        assert learned & {"0", "1", "2"} == {str(index) for index in range(turn + 1) if index == turn or below}
        assert ("embeddings" in learned) == (turn == 0 or below > 0)


def test_the_loss_is_that_of_the_layer_whose_turn_it_is() -> None:
    stage = stage_of()
    method = make_method("progressive", stage)
    batch, student, teacher = batches(stage, 1)[0], method.model.eval(), stage.teacher
    assert teacher is not None
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    asked: Any = {"output_hidden_states": True, "output_trace": True}
    with torch.no_grad():
        ours, theirs = student(**inputs, **asked), teacher(**inputs, **asked)
    for turn in range(3):
        states = [out.hidden_states[turn + 1][batch["attention_mask"].bool()] for out in (ours, theirs)]
        expected = F.mse_loss(*states)
        expected += distribution_loss([ours.trace[turn]], [theirs.trace[turn]], batch["attention_mask"])
        method.step = 2 * turn
        found = method.micro_step(batch, 1.0)
        assert found == {"loss": pytest.approx(expected.item(), rel=1e-5), "layer": turn}


def test_a_small_rate_is_that_share_of_a_step() -> None:
    """In the first step of a turn, from the same moments, a weight below moves by a tenth of what it would."""
    ways = []
    for below in (1.0, 0.1):
        stage = stage_of(schedule="constant", warmup=0.0)
        method = make_method("progressive", stage, below=below)
        steps(method, stage, 2)
        weight = method.model.encoder.layers[0].ffn_out.weight
        before = weight.detach().clone()
        steps(method, stage, 1)
        ways.append(weight.detach() - before)
    torch.testing.assert_close(ways[1], 0.1 * ways[0], atol=1e-7, rtol=0)
    assert ways[0].abs().max() > 1e-4


def test_it_learns_what_its_teacher_gives() -> None:
    """A student of MobileBERT's layers comes nearer to each layer of a teacher of the same kind."""
    stage = context(rows=240, layers=2, objective=TRANSFER, teacher={}, epochs=2, learning_rate=1e-2)
    teacher = with_layers("bottleneck")
    student = with_layers("bottleneck")
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    stage = dataclasses.replace(stage, model=student, teacher=teacher)
    method = make_method("progressive", stage)
    whole = method.context.make_objective()
    batch = batches(stage, 1)[0]

    def distance() -> float:
        with torch.no_grad():
            return float(whole(method.model.eval(), batch))

    before = distance()
    method.model.train()
    for step in range(1, stage.steps + 1):
        method.micro_step(batches(stage, 24)[step % 24], 1.0)
        method.update(step)
    assert distance() < 0.5 * before
    assert method.result().model.config.shapes == student.config.shapes
    assert "layers 0, 1 were trained one after another" in method.notes()[0]


def test_layers_that_nothing_is_compared_of_learn_with_the_next_one() -> None:
    stage = context(objective={"task": 0.0, "attention": 1.0}, attention={0: "mean"}, teacher={"seed": 3})
    method = make_method("progressive", stage)
    assert method.taught == [1, 2]
    before = {name: weight.clone() for name, weight in method.model.state_dict().items()}
    steps(method, stage, 1)
    assert moved(method, before) & {"0", "1", "2"} == {"0", "1"}


def test_each_layer_needs_a_step() -> None:
    stage = stage_of()
    make_method("progressive", dataclasses.replace(stage, steps=3))
    with pytest.raises(
        TrimformerError, match="3 layers learn one after another and need a step each, but the stage has 2"
    ):
        make_method("progressive", dataclasses.replace(stage, steps=2))


def test_the_report_names_the_layers_that_had_a_turn() -> None:
    stage = stage_of()  # 6 steps, 3 layers
    method = make_method("progressive", stage)
    steps(method, stage, 3)
    cut, resumed = method.notes(), make_method("progressive", stage)
    assert cut == [
        "the layers 0, 1 were trained one after another, in 3 steps; those below were frozen. The training ended "
        "before the turn of the layers 2."
    ]
    resumed.load_state_dict(method.state_dict())
    assert resumed.notes() == cut
    steps(method, stage, 3)
    assert method.notes() == ["the layers 0, 1, 2 were trained one after another, in 6 steps; those below were frozen."]


def test_layers_that_share_their_weights_are_refused() -> None:
    settings: Any = METHODS["progressive"].Settings()
    with pytest.raises(TrimformerError, match="share their weights, so that none can be trained by itself"):
        METHODS["progressive"].after(settings, tiny(family="albert").config)
