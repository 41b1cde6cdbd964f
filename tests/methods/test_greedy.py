"""Greedy: the attention layer that is missed least goes, one after the other."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from tests.learning import batches, context, make_method
from trimformer import Gates
from trimformer.tasks.encoding.batches import drawn_rows
from trimformer.training.evaluate import predict_logits


def remove(method):
    """The removals alone: the weights stay as they are."""
    method.networks["model"].step = lambda: None
    for step in range(1, method.context.steps + 1):
        method.update(step)
    return method


def removed(method):
    return [layer for _, layer, _ in method.removals]


@pytest.mark.parametrize("replace_by", ["mean", "none"])
def test_attention_that_gives_nothing_goes_first(replace_by):
    stage = context(layers=4, kind="regression")
    for index in (0, 2):
        torch.nn.init.zeros_(stage.model.encoder.layers[index].attention.output.weight)
        torch.nn.init.zeros_(stage.model.encoder.layers[index].attention.output.bias)
    exact = predict_logits(stage.model, stage.selection)[:, 0]  # so that whatever else is removed costs
    stage = dataclasses.replace(stage, selection=dataclasses.replace(stage.selection, labels=exact))
    method = remove(make_method("greedy", stage, keep_layers=1, replace_by=replace_by))
    assert sorted(removed(method)[:2]) == [0, 2]
    assert [loss for *_, loss in method.removals[:2]] == pytest.approx([0, 0], abs=1e-9)
    assert method.removals[2][2] > 1e-6


def test_layers_that_stand_in_for_one_another_do_not_both_go():
    """Either of the first two can be missed, but not both: a score for each layer alone would not see it."""
    method = make_method("greedy", context(layers=4), keep_layers=2)
    worth = {2: 0.3, 3: 0.2}
    method.loss = lambda kept: (
        float(not {0, 1} & set(kept)) + sum(value for layer, value in worth.items() if layer not in kept)
    )
    assert removed(remove(method)) == [1, 3]
    assert [loss for *_, loss in method.removals] == pytest.approx([0, 0.2])
    assert method.decide().attention.tolist() == [1, 0, 1, 0]


def test_the_layers_fall_evenly_to_the_target():
    method = make_method("greedy", context(layers=4, epochs=10), keep_layers=1, ramp=0.5)  # 60 steps
    assert [method.target(step) for step in (1, 9, 10, 19, 20, 29, 30, 60)] == [4, 4, 3, 3, 2, 2, 1, 1]
    remove(method)
    assert [step for step, *_ in method.removals] == [10, 20, 30]
    quick = remove(make_method("greedy", context(layers=4), keep_layers=0, ramp=0.01))
    assert [step for step, *_ in quick.removals] == [1] * 4


def test_nothing_is_removed_where_all_layers_stay():
    method = remove(make_method("greedy", context(), keep_layers=3))
    assert method.decide().attention.tolist() == [1, 1, 1]
    assert method.notes() == ["No layer lost its attention."]


def test_layers_without_attention_do_not_count():
    method = make_method("greedy", context(layers=4, attention={1: "mean"}), keep_layers=2, replace_by="mean")
    assert method.kept == [0, 2, 3]
    remove(method)
    assert len(method.removals) == 1
    assert method.decide().attention.sum() == 2
    assert method.decide().attention[1] == 0
    other = make_method("greedy", context(layers=4, attention={1: "mean"}), keep_layers=2, replace_by="none")
    assert other.kept == [0, 1, 2, 3]  # of a mean the values can still be lost


@pytest.mark.parametrize("replace_by", ["mean", "none"])
def test_the_loss_is_that_of_the_rows_without_the_layer(replace_by):
    stage = context()
    method = make_method("greedy", stage, keep_layers=1, rows=10, replace_by=replace_by)
    rows = drawn_rows(len(stage.selection), 10, stage.seed).tolist()
    assert len(rows) == len(set(rows)) == 10
    batch = stage.selection.batch(rows)
    labels = batch.pop("labels")
    gates = Gates(attention=torch.tensor([1.0, 0, 1]), removed=replace_by)
    with torch.no_grad():
        expected = F.cross_entropy(method.model.eval()(**batch, gates=gates).logits, labels)
    method.model.train()
    assert method.loss([0, 2]) == pytest.approx(expected.item(), abs=1e-6)
    assert method.model.training


def test_what_is_removed_is_trained_no_more():
    stage = context(objective={"logits": 1.0, "hidden": 1.0})
    method = make_method("greedy", stage, keep_layers=1, ramp=0.01)
    one, two = batches(stage, 2)
    method.micro_step(one, 1.0)
    method.update(1)
    teacher = {name: weight.clone() for name, weight in stage.teacher.state_dict().items()}
    layers = method.model.encoder.layers
    queries = [layer.attention.query.weight.clone() for layer in layers]
    values = [layer.attention.value.weight.clone() for layer in layers]
    method.micro_step(two, 1.0)
    method.update(2)
    for index, layer in enumerate(layers):
        assert torch.equal(layer.attention.query.weight, queries[index]) == (index not in method.kept)
        assert not torch.equal(layer.attention.value.weight, values[index])
    assert all(torch.equal(weight, teacher[name]) for name, weight in stage.teacher.state_dict().items())


def test_the_report_can_draw_it():
    method = remove(make_method("greedy", context(epochs=2), keep_layers=1))  # 12 steps
    points = method.history.curves["keep_probability"]
    assert [step for step, _ in points] == list(range(1, 13))
    assert [sum(values) for _, values in points] == [method.target(step) for step in range(1, 13)]
    assert points[-1][1] == method.decide().attention.tolist()
    first, second = removed(method)
    (note,) = method.notes()
    assert note.startswith(f"Attention was removed from layer {first} (step 4, loss ")
    assert f", layer {second} (step 8, loss " in note
    assert note.endswith("losses were computed on 24 rows of the selection split.")


def test_same_seed_same_removals():
    def run():
        method = make_method("greedy", context(), keep_layers=1)
        for step, batch in enumerate(batches(method.context, 4), 1):
            method.micro_step(batch, 1.0)
            method.update(step)
        return method.removals

    assert run() == run() != []
