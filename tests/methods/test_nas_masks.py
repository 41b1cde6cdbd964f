"""The search by masks: what they are at their ends, one step of an α, a toy whose best masks are known, costs."""

import copy
import dataclasses

import pytest
import torch
from torch.nn import functional as F

from tests.learning import batches, context, make_method
from tests.models import padded_batch, tiny
from tests.tables import PIECES, cached
from trimformer import TrimformerError, cost, trim
from trimformer.methods.architecture.masks import LIMIT, START, WAYS, Masks, leap, straight, thresholded
from trimformer.methods.architecture.target import cost_loss
from trimformer.training.loop import train

ALL = {"spaces": ["inputs", "query_key", "values", "ffn", "heads"], "keep_heads": 1}


def method(stage=None, **settings):
    return make_method("nas-masks", stage or context(), **{"target": 0.6} | settings)


def put(made, value):
    """Every α at plus or minus a value, at random."""
    generator = torch.Generator().manual_seed(3)
    for alpha in made.masks.parameters():
        alpha.data = torch.where(torch.rand(len(alpha), generator=generator) < 0.6, value, -value)


def test_the_gradient_of_a_mask_counts_as_one_and_its_value_is_the_sigmoid():
    alpha = torch.tensor([5.0, 0.0, -5.0], requires_grad=True)
    (straight(alpha) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert torch.equal(alpha.grad, torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(straight(alpha).detach(), torch.sigmoid(alpha.detach()))


def test_one_step_from_5_can_land_where_the_dimension_goes():
    alpha = torch.full((3,), START)
    alpha.grad = torch.tensor([1e-6, 2e-6, -2e-6])
    leap([alpha], 12.0)
    masks = Masks({"inputs": [3]}, "straight-through")
    masks.alphas["inputs"][0].data = alpha
    masks.clamp()
    assert alpha.tolist() == [START - 6, -LIMIT, LIMIT]
    assert alpha[1] < -4.6
    assert thresholded(alpha).gt(0).tolist() == [True, False, True]


def test_a_sigmoid_above_a_hundredth_stays():
    assert thresholded(torch.tensor([-4.59, -4.6])).gt(0).tolist() == [True, False]


@pytest.mark.parametrize("target", [3 / 16, 0.2, 0.24])
def test_dimensions_that_matter_stay_and_no_others(target):
    """The label is the sign of a sum of 3 of 16 dimensions, which the weights know already."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 16, generator=generator)
    weights = torch.zeros(16).index_fill(0, torch.tensor([2, 7, 11]), 2.0)
    labels = (x @ weights > 0).float()
    masks = Masks({"inputs": [16]}, "straight-through")
    for _ in range(30):
        loss = F.binary_cross_entropy_with_logits((x * masks()["inputs"][0]) @ weights, labels)
        expected, now = (each["inputs"][0].mean() for each in (masks.expected(), masks.hard()))
        (loss + 0.2 * cost_loss(expected, now.item(), target, 0.3)).backward()
        leap(masks.dimensions, 12.0)
        masks.clamp()
    assert masks.hard()["inputs"][0].nonzero().flatten().tolist() == [2, 7, 11]


@pytest.mark.parametrize("shared", [False, True])
def test_masks_that_are_all_open_change_nothing(shared):
    made = method(shared=shared, spaces=["inputs", "query_key", "values", "ffn"])
    for alpha in made.masks.parameters():
        alpha.data.fill_(20.0)
    made.model.eval()
    batch = padded_batch(made.model)
    with torch.no_grad():
        torch.testing.assert_close(
            made.model(**batch, gates=made.gates()).logits, made.model(**batch).logits, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("what", ["flops", "params"])
@pytest.mark.parametrize("way", list(WAYS))
def test_the_expected_cost_at_the_ends_is_the_one_counted(what, way):
    made = method(cost=what, masks=way, target=1.0, **ALL)
    put(made, 20.0)
    layers = cost(trim(made.model, made.decide()).encoder, made.aim.cost.length).layers
    counted = sum(getattr(layer, what) for layer in layers)
    with torch.no_grad():
        assert made.aim.cost(made.as_gates(made.masks.expected())).item() == pytest.approx(counted, rel=1e-5)
    assert made.now() == pytest.approx(counted / made.aim.cost.dense.item(), rel=1e-5)


@pytest.mark.parametrize("way", list(WAYS))
def test_what_is_left_computes_what_the_masks_gave(way):
    made = method(masks=way, **ALL)
    put(made, 2.0)  # soft where they stay
    for alpha in made.masks.alphas["inputs"]:
        alpha.data[:5] = -LIMIT
    model = made.model.eval()
    batch = padded_batch(model)
    with torch.no_grad():
        wanted = model(**batch, gates=made.decide()).logits
        torch.testing.assert_close(made.result().model.eval()(**batch).logits, wanted, atol=1e-5, rtol=0)
    assert {shape.heads for shape in made.result().model.config.shapes} == {1}


def test_the_step_of_the_masks_leaves_the_weights_alone_and_is_on_other_rows():
    stage = context()
    made = method(stage)
    before = copy.deepcopy(made.model.state_dict())
    rows = {tuple(row.tolist()) for row in made.held_out.rows.batch(range(24))["input_ids"]}
    made.turn({})
    assert all(torch.equal(weight, before[name]) for name, weight in made.model.state_dict().items())
    assert all(weight.grad is None for weight in made.model.parameters())
    assert any((alpha != START).any() for alpha in made.masks.parameters())
    others = made.context.rows
    assert not rows & {tuple(row.tolist()) for row in others.batch(range(len(others)))["input_ids"]}
    made.micro_step(batches(stage, 1)[0], 1.0)
    assert made.masks.alphas["inputs"][0].grad is None


@pytest.mark.parametrize("way", list(WAYS))
def test_the_search_moves_towards_its_target_and_says_how_it_went(tmp_path, way):
    stage = context(rows=96, epochs=10, learning_rate=1e-3)
    made = method(stage, target=0.5, tolerance=0.2, masks=way, cost_weight=4.0)
    train(made, made.context.rows, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    curves = made.history.curves
    assert curves["cost"][0][1] > 0.6 or way == "straight-through"
    assert [step for step, _ in curves["cost"]] == [step for step, _ in curves["cost target"]]
    assert len(curves["alpha inputs"][-1][1]) == 3 * 16
    assert made.notes()[0].startswith(f"{made.now():.3f} of the dense dimensions stay")
    kept = [int((alpha != 0).sum()) for alpha in made.masks.settled()["inputs"]]
    assert [len(shape.reads or range(16)) for shape in made.result().model.config.shapes] == [max(1, k) for k in kept]


def test_steps_that_fall_bring_the_cost_into_the_tolerance(tmp_path):
    stage = dataclasses.replace(
        context(rows=192, epochs=5, learning_rate=1e-3), model=tiny(2, hidden_size=64, labels=2)
    )
    made = method(stage, target=0.75)
    train(made, made.context.rows, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    assert made.now() == pytest.approx(0.75, abs=0.05 * 0.75)
    assert ", within 0.05 of the target 0.75." in made.notes()[0]


def test_milliseconds_of_inputs_come_from_the_table(tmp_path, monkeypatch):
    table = cached(monkeypatch, tmp_path, pieces=PIECES | {"full/8 inputs": {4: 3.0, 8: 4.0, 16: 5.0}})
    made = method(cost="ms", backend="torch", length=8, target=1.0, spaces=["inputs", "ffn"])
    put(made, 20.0)
    left = table.predict(made.result().model.config) - PIECES["rest"][0]
    assert made.now() == pytest.approx(left / made.aim.cost.dense.item())


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"spaces": ["heads"]}, "keep_heads says how many"),
        ({"keep_heads": 1}, "keep_heads says how many"),
        ({"spaces": ["heads"], "keep_heads": 3}, "keep_heads=3 is too many: a layer here has 2"),
        ({"target": 0.1, "cost": "flops"}, "target of 0.1 is out of reach: without any of inputs"),
        ({"cost": "ms", "spaces": ["values"], "backend": "torch"}, "with cost ms leave values out"),
    ],
)
def test_what_cannot_be_searched_is_said(settings, match):
    with pytest.raises(TrimformerError, match=match):
        method(**settings)


def test_shared_weights_and_what_an_architecture_cannot_lose():
    for family in ("albert", "deberta-v2"):
        with pytest.raises(TrimformerError, match=r"cannot lose input dimensions.*leave inputs out of spaces"):
            method(context(family=family))


def test_the_names_of_masks_say_their_space_and_way():
    names = set(Masks({"values": [2, 2], "query_key": [3]}, "straight-through").state_dict())
    assert not names & set(Masks({"query_key": [2, 2], "values": [3]}, "straight-through").state_dict()) - {
        "lists.values straight-through.0", "lists.query_key straight-through.0",
    }  # fmt: skip
    assert not names & set(Masks({"values": [2, 2], "query_key": [3]}, "hard-concrete").state_dict())


def test_dimensions_are_masks_of_layers_that_have_them():
    stage = context(layers=3, attention={0: "none", 1: "mean"}, objective={"task": 1.0})
    method = make_method("nas-masks", stage, target=0.5, spaces=["inputs", "query_key"])
    masks = method.masks.hard()
    for own in (masks["inputs"][0], masks["query_key"][0], masks["query_key"][1]):
        own.zero_()
    assert method._share(masks).item() == 1  # the layers have nothing there
    masks["query_key"][2].zero_()
    sizes = len(masks["inputs"][1]) + len(masks["inputs"][2]), len(masks["query_key"][2])
    assert method._share(masks).item() == pytest.approx(sizes[0] / sum(sizes))
