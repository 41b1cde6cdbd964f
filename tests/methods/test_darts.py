"""DARTS over the kinds of attention: the mixture, its two kinds of steps, the target, and what is left."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.learning import batches, context, every_term, make_method
from tests.models import DISTINCT_FAMILIES, padded_batch, tiny
from tests.tables import PIECES, cached
from trimformer import Gates, TrimformerError, trim
from trimformer.methods.architecture.bilevel import architecture_gradient, gradients, restored, shift
from trimformer.methods.architecture.mixture import Mixture, candidates, mix, unmixed
from trimformer.training.evaluate import predict_logits
from trimformer.training.loop import train


def logits(model: Any, gates: Gates | None = None) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model), gates=gates).logits
    return found


def random_choice(method: Any, seed: int) -> list[int]:
    torch.manual_seed(seed)
    return [int(torch.randint(len(own), ())) for own in method.candidates]


def moved(model: Any) -> None:
    """Let every candidate have other weights than the layer, as after training."""
    with torch.no_grad():
        for layer in model.encoder.layers:
            for weight in layer.attention.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)


def test_a_layer_may_have_what_it_has_the_weights_for() -> None:
    model = trim(tiny(4), attention={1: "mean", 2: "none"})
    found = [list(own) for own in candidates(model.config)]
    assert found[0] == found[3]
    assert found[0][0] == "full"
    assert set(found[0]) == {"full", "gaussian", "conv", "mean", "none"}
    assert found[1:3] == [["mean", "conv", "none"], ["none"]]
    named = candidates(model.config, ["conv3", "conv9", "none"])
    others = ["conv3", "conv9", "none"]
    assert [list(own) for own in named] == [["full", *others], ["mean", *others], ["none"], ["full", *others]]
    assert named[0]["conv9"].kernel == 9
    with pytest.raises(TrimformerError, match="Unknown attention kind 'convolution'"):
        candidates(model.config, ["convolution"])


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_a_mixture_starts_as_what_the_layer_becomes(family: str) -> None:
    model = tiny(3, family=family)
    kinds = candidates(model.config)
    whole = logits(model)
    trimmed = {name: logits(trim(model, attention=dict.fromkeys(range(3), name))) for name in list(kinds[0])[1:]}
    mix(model, kinds)
    for index, name in enumerate(kinds[0]):
        one = [torch.eye(len(own))[index] for own in kinds]
        torch.testing.assert_close(logits(model, Mixture(one)), trimmed.get(name, whole), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_what_is_left_is_the_mixture_with_shares_of_one(family: str, seed: int) -> None:
    method = make_method("darts", context(family=family, layers=4), target=0.9)
    moved(method.model)
    choice = random_choice(method, seed)
    names = [list(own)[index] for own, index in zip(method.candidates, choice, strict=True)]
    mixed = logits(method.model, Mixture(method.hard(choice)))
    left = unmixed(method.model, names)
    torch.testing.assert_close(logits(left), mixed, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits(method.model, Mixture(method.hard(choice))), mixed)  # it is left as it was
    assert [shape.attention for shape in left.config.shapes] == [name.rstrip("0123456789") for name in names]


def test_a_mixture_is_the_sum_of_its_parts() -> None:
    model = tiny(1)
    kinds = candidates(model.config)
    seen: list[torch.Tensor] = []
    mix(model, kinds)
    attention = model.encoder.layers[0].attention
    attention.register_forward_hook(lambda module, given, out: seen.append(out))
    share = torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15])
    logits(model, Mixture([share]))
    for index in range(5):
        logits(model, Mixture([torch.eye(5)[index]]))
    parts = [own * one for own, one in zip(share, seen[1:], strict=True) if one is not None]
    assert len(parts) == 4  # none gives nothing
    torch.testing.assert_close(seen[0], sum(parts))


@pytest.mark.parametrize("order", ["first", "second"])
def test_each_step_moves_its_own_and_nothing_else(order: str) -> None:
    method = make_method("darts", context(), target=0.6, order=order)
    batch = batches(method.context, 1)[0]
    weights = {name: weight.detach().clone() for name, weight in method.model.named_parameters()}
    alphas = [alpha.detach().clone() for alpha in method.alphas.parameters()]
    method.turn(batch)
    assert all(torch.equal(weight, weights[name]) for name, weight in method.model.named_parameters())
    assert all(weight.grad is None for weight in method.model.parameters())
    assert not any(torch.equal(new, old) for new, old in zip(method.alphas.parameters(), alphas, strict=True))
    after = [alpha.detach().clone() for alpha in method.alphas.parameters()]
    method.micro_step(batch, 1.0)  # the α have had their step
    assert all(torch.equal(new, old) for new, old in zip(method.alphas.parameters(), after, strict=True))
    assert all(alpha.grad is None for alpha in method.alphas.parameters())
    method.update(1)
    assert any(not torch.equal(weight, weights[name]) for name, weight in method.model.named_parameters())


def test_the_alphas_learn_once_for_each_step_of_the_weights() -> None:
    method = make_method("darts", context(), target=0.6)
    turns: list[int] = []
    method.turn = lambda batch: turns.append(method.step) or setattr(method, "turned", True) or {}
    for step in (1, 2):
        for batch in batches(method.context, 3):
            method.micro_step(batch, 1 / 3)
        method.update(step)
    assert turns == [0, 1]


def gradient_of(order: str, half: bool = False) -> list[torch.Tensor]:
    stage = context()
    method = make_method("darts", stage, target=0.6, order=order, cost_weight=0.0)
    if half:  # as Accelerate does it
        method.model.forward = torch.autocast("cpu", torch.bfloat16)(method.model.forward)
    method.networks["model"].scheduler.get_last_lr = lambda: [0.1]
    method.networks["alphas"].step = lambda: None
    method.turn(batches(stage, 1)[0])
    return [alpha.grad for alpha in method.alphas.parameters()]


def test_the_second_order_is_computed_in_full_precision() -> None:
    whole = gradient_of("second")
    torch.testing.assert_close(gradient_of("second", half=True), whole)
    assert not torch.allclose(gradient_of("first", half=True)[0], gradient_of("first")[0], rtol=1e-4)
    assert not torch.allclose(gradient_of("first")[0], whole[0], rtol=1e-4)


def test_the_second_order_is_that_of_the_losses_as_they_are() -> None:
    """In double precision against the exact product of the second derivative."""
    method = make_method("darts", context(), target=0.6)
    model, batch = method.model.double().eval(), batches(method.context, 2)
    alphas = [alpha.detach().double().requires_grad_() for alpha in method.alphas.parameters()]
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def loss(own: Any) -> torch.Tensor:
        found: torch.Tensor = method.objective(model, own, Mixture([alpha.softmax(0) for alpha in alphas]))
        return found

    rate = 0.1
    found = architecture_gradient(alphas, weights, lambda: loss(batch[0]), lambda: loss(batch[1]), rate)
    with restored(weights):
        shift(weights, gradients(loss(batch[1]), weights), -rate)
        direct = gradients(loss(batch[0]), [*alphas, *weights])
    with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
        slopes = torch.autograd.grad(loss(batch[1]), weights, create_graph=True, allow_unused=True)
    both = zip(slopes, direct[len(alphas) :], strict=True)
    mixed = gradients(sum((slope * own).sum() for slope, own in both if slope is not None), alphas)
    for own, one, two in zip(found, direct, mixed, strict=False):
        torch.testing.assert_close(own, one - rate * two, rtol=1e-2, atol=1e-5)
        assert (rate * two).norm() > 0.01 * one.norm()


@pytest.mark.parametrize(("cost", "target"), [("flops", 0.55), ("params", 0.75), ("bytes", 0.75)])
def test_the_target_is_met(tmp_path: Any, cost: str, target: float) -> None:
    stage = context(rows=80, epochs=2)
    method = make_method("darts", stage, target=target, cost=cost)
    train(method, method.context.rows, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    assert method.cost(method.choice()) <= target * 1.05 + 1e-4
    left = method.result()
    counted = method.aim.cost(Gates(), [[(shape, 1.0)] for shape in left.model.config.shapes]) / method.aim.cost.dense
    assert method.cost(method.choice()) == pytest.approx(counted.item())
    assert f"{counted.item():.3f} of the dense" in left.notes[1]
    curves = method.history.curves
    assert len(curves["share of full"]) == method.context.steps
    assert sum(curves[f"share of {name}"][-1][1][0] for name in method.candidates[0]) == pytest.approx(1)
    assert len(curves["cost"]) == 3


def test_milliseconds_are_those_of_the_model_that_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    pieces = PIECES | {"gaussian": {0: 0.75}, "first gaussian": {0: 0.5}}
    table = cached(monkeypatch, tmp_path, pieces=pieces, first=False)
    ms = {"cost": "ms", "backend": "torch", "length": 8}
    method = make_method("darts", context(layers=4), target=0.8, **ms)
    for seed in range(4):
        choice = random_choice(method, seed)
        names = [list(own)[index] for own, index in zip(method.candidates, choice, strict=True)]
        left = table.predict(unmixed(method.model, names).config) - PIECES["rest"][0]
        assert method.cost(choice) == pytest.approx(left / method.aim.cost.dense.item())
    shares = method.alphas()
    method.expected(shares).backward()
    assert all(alpha.grad.abs().sum() > 0 for alpha in method.alphas.parameters())


def test_the_kind_that_is_needed_is_found(tmp_path: Any) -> None:
    """The labels are what the encoder says with its attention."""
    stage = context(layers=1, rows=160, epochs=2)
    answers = predict_logits(stage.model, stage.train)
    lead = answers[:, 1] - answers[:, 0]
    rows = dataclasses.replace(stage.train, labels=(lead > np.median(lead)).astype(np.int64))
    method = make_method("darts", dataclasses.replace(stage, train=rows), target=1.0, cost_weight=0.0, kinds=["none"])
    train(method, method.context.rows, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    assert method.names() == ["full"]


def test_scores_and_relations_are_those_of_the_layers_own_attention() -> None:
    method = make_method("darts", context(objective=every_term()), target=0.6)
    assert torch.isfinite(torch.tensor(method.micro_step(batches(method.context, 1)[0], 1.0)["loss"]))


def test_layers_that_share_their_weights_have_one_size_of_a_kind() -> None:
    with pytest.raises(TrimformerError, match="name each kind once"):
        make_method("darts", context(family="albert"), target=0.9, kinds=["conv3", "conv9"])
    assert make_method("darts", context(), target=0.9, kinds=["conv3", "conv9"]).counts == [3, 3, 3]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target": 0.1}, r"A target of 0.1 is out of reach: the cheapest choice leaves 0\.\d+ of the operations"),
        ({"target": 0.5, "cost": "dimensions"}, "let cost be flops, params, bytes or ms"),
        ({"target": 0.5, "kinds": ["full"]}, "name others"),
        ({"target": 0.5, "kinds": ["conv4"]}, "name others"),
        ({"target": 0.5, "kinds": ["median"]}, "Unknown attention kind 'median'"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        make_method("darts", context(), **settings)
