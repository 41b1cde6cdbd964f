"""TAS: interpolation of widths, draws of two sizes, what is chosen, and the encoder that is left."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.learning import context, make_method
from tests.models import padded_batch, tiny
from trimformer import Gates, TrimformerError, trim
from trimformer.methods.architecture.tas import sizes_of
from trimformer.methods.architecture.widths import Drawn, Widths, draw, interpolated, one
from trimformer.training.loop import train

FAMILIES = ("bert", "modernbert", "mpnet")


def logits(model: Any, gates: Gates | None = None) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(**padded_batch(model), gates=gates).logits
    return found


def averaged(x: Tensor, channels: int) -> Tensor:
    """The formula of the paper."""
    c, outputs = x.shape[-1], []
    for t in range(channels):
        outputs.append(x[..., t * c // channels : math.ceil((t + 1) * c / channels)].mean(-1))
    return torch.stack(outputs, -1)


@pytest.mark.parametrize("sizes", [(7, 3), (3, 7), (5, 4), (8, 1)])
def test_the_narrower_is_brought_to_the_wider_by_means_of_its_channels(sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, weights = torch.randn(2, 3, 8), torch.tensor([0.3, 0.7])
    found, widest = interpolated(x, Drawn(sizes, weights)), max(sizes)
    expected = sum(w * averaged(x[..., :size], widest) for w, size in zip(weights, sizes, strict=True))
    torch.testing.assert_close(found[..., :widest], expected)
    assert not found[..., widest:].any()
    assert torch.equal(interpolated(x, one(8)), x)


def test_two_different_sizes_are_drawn_as_often_as_their_shares_say() -> None:
    torch.manual_seed(0)
    alphas = torch.tensor([1.0, 0.0, -1.0])
    drawn = [draw(alphas, [30, 20, 10], 1.0) for _ in range(4000)]
    assert all(len(set(one.sizes)) == 2 and one.weights[0] >= one.weights[1] for one in drawn)
    largest = [one.sizes[0] for one in drawn]  # that of the larger perturbed logit
    shares = torch.tensor([largest.count(size) / len(drawn) for size in (30, 20, 10)])
    torch.testing.assert_close(shares, alphas.softmax(0), atol=0.03, rtol=0)


@pytest.mark.parametrize("temperature", [5.0, 0.1])
def test_the_weights_are_the_softmax_of_the_two_perturbed_logits(temperature: float) -> None:
    alphas = torch.tensor([0.5, 0.1, -0.3, 0.2], requires_grad=True)
    torch.manual_seed(3)
    drawn = draw(alphas, [4, 3, 2, 1], temperature)
    torch.manual_seed(3)
    noise = -torch.log(-torch.log(torch.rand(4).clamp(1e-9, 1 - 1e-7)))
    noisy = (alphas.log_softmax(0) + noise) / temperature
    first, second = noisy.argsort(descending=True)[:2].tolist()
    assert drawn.sizes == [4 - first, 4 - second]
    torch.testing.assert_close(drawn.weights, noisy[[first, second]].softmax(0))
    drawn.weights[0].backward()
    assert alphas.grad is not None
    assert alphas.grad[first] > 0 > alphas.grad[second]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_cut_out_is_the_encoder_with_these_sizes(family: str) -> None:
    method = make_method("tas", context(family=family, attention={1: "mean"}), target=0.9, rows=16)
    for seed in range(3):
        torch.manual_seed(seed)
        choice = [int(torch.randint(count, ())) for count in method.counts]
        drawn = logits(method.model, method.widths([one(size) for size in method.sizes(choice)]))
        left = trim(method.model, method.kept(method.hard(choice)))
        torch.testing.assert_close(logits(left), drawn, atol=1e-5, rtol=1e-5)
        counted = method.aim.cost.dense * method.cost(choice)
        own = make_method("tas", context(family=family), target=1.0, rows=16).aim.cost
        own.config = left.config
        assert counted.item() == pytest.approx(own(Gates()).item())


def test_of_two_depths_the_states_are_summed() -> None:
    model = tiny(4)
    weights = torch.tensor([0.25, 0.75])
    nothing = [None] * 4
    states = model(**padded_batch(model), output_hidden_states=True).hidden_states
    asked = {"output_hidden_states": True, "gates": Widths(nothing, nothing, Drawn([3, 1], weights))}
    found = model(**padded_batch(model), **asked).hidden_states
    torch.testing.assert_close(found[-1], 0.25 * states[3] + 0.75 * states[1])
    torch.testing.assert_close(found[1], states[1])


def test_of_two_widths_units_and_heads_are_summed() -> None:
    model, weights = tiny(1), torch.tensor([0.4, 0.6])
    layer = model.encoder.layers[0]
    gates = Widths([Drawn([1, 2], weights)], [Drawn([24, 10], weights)]).layer(0)
    x = torch.randn(2, 5, 16)
    units = layer.units(x)
    mixed = 0.4 * units + 0.6 * averaged(units[..., :10], 24)
    torch.testing.assert_close(layer.feed_forward(x, gates), layer.ffn_out(mixed))
    heads = torch.randn(2, 5, 16)
    first, second = heads[..., :8], heads[..., 8:]
    expected = torch.cat([first, 0.4 * first + 0.6 * second], -1)
    torch.testing.assert_close(gates.scale_values(heads, 2), expected)


def test_before_the_search_nothing_but_the_order_has_changed() -> None:
    stage = context()
    before = logits(stage.model)
    method = make_method("tas", stage, target=0.9, rows=16)
    torch.testing.assert_close(logits(method.model), before, atol=1e-5, rtol=1e-5)
    whole = method.widths([one(place.sizes[0]) for place in method.places])
    torch.testing.assert_close(logits(method.model, whole), before, atol=1e-5, rtol=1e-5)


def test_the_sizes_are_shares_in_whole_groups() -> None:
    assert sizes_of(12, [1.0, 0.9, 0.5, 0.3]) == [12, 11, 6, 4]
    assert sizes_of(2, [1.0, 0.9, 0.5, 0.3]) == [2, 1]
    assert sizes_of(1536, [1.0, 0.3], 16) == [1536, 464]
    assert sizes_of(3, [1.0, 0.67, 0.33]) == [3, 2, 1]


def test_the_largest_shares_are_chosen_where_they_meet_the_target() -> None:
    method = make_method("tas", context(), target=0.5, rows=16)
    wanted = [1] * len(method.places)
    with torch.no_grad():
        for alphas, index in zip(method.alphas.logits, wanted, strict=True):
            alphas[index] = 4.0
    assert (method.choice() == wanted) == (method.cost(wanted) <= method.limit)
    with torch.no_grad():
        for alphas in method.alphas.logits:
            alphas[0] = 8.0  # all that there is costs too much
    assert method.cost(method.choice()) <= method.limit + 1e-4
    assert method.choice() != [0] * len(method.places)


def test_the_temperature_falls_from_5_to_a_tenth_and_the_target_is_met(tmp_path: Any) -> None:
    stage = context(rows=80, epochs=2)
    method = make_method("tas", stage, target=0.6, rows=16)
    assert method.temperature() == 5.0
    train(method, method.context.rows, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    assert method.temperature() == pytest.approx(0.1)
    found = method.result()
    assert method.cost(method.choice()) <= 0.63 + 1e-4
    sizes = [size for shape in found.model.config.shapes for size in (shape.heads, shape.ffn)]
    assert sizes == method.sizes(method.choice())[: len(sizes)]
    assert found.notes[0].startswith("what is left, layer by layer: heads ")
    assert set(method.history.curves) >= {"share of heads", "share of units", "share of layers", "cost"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target": 0.05}, r"A target of 0.05 is out of reach: the cheapest choice leaves 0\.\d+"),
        ({"target": 0.5, "cost": "dimensions"}, "let cost be flops, params, bytes or ms"),
        ({"target": 0.5, "widths": [0.5, 0.3]}, "widths must have 1.0 in it"),
        ({"target": 0.5, "cost": "ms", "backend": "torch"}, "with cost ms leave layers out of parts"),
        ({"target": 0.9, "parts": ["layers"], "depths": [1.0, 0.99]}, "name more parts, or other shares"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        make_method("tas", context(), **settings)


def test_layers_that_share_their_weights_are_refused() -> None:
    with pytest.raises(TrimformerError, match="share their weights"):
        make_method("tas", context(family="albert"), target=0.5)
