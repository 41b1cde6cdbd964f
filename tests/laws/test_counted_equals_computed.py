"""Law: the cost computed from the shape is the cost counted on the model."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.models import FAMILY_NAMES, points_of, random_gates, tiny
from trimformer import Gates, cost, load, trim
from trimformer.measure.cost import expected_flops, expected_params

KINDS = [
    {},
    {1: "mean"},
    {0: "mean", 2: "mean"},
    {0: "mean", 1: "mean", 2: "mean"},
    {2: "none"},
    {0: "none", 1: "none", 2: "none"},
    {0: "none", 1: "conv", 2: "none"},
    {0: "conv3", 1: "mean", 2: "conv3"},
]


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("n", [1, 12])
def test_flops_and_weights_equal_the_count(family, kinds, n):
    model = trim(tiny(family=family), attention=kinds)
    computed = cost(model, n)
    # The unfused attention consists of plain matrix products, which the counter counts one by one.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.randint(4, 50, (1, n)), torch.ones(1, n, dtype=torch.long))
    assert counter.get_total_flops() == computed.flops
    assert computed.params == sum(p.numel() for p in model.parameters())
    assert computed.bytes == 4 * computed.params
    body = cost(model.encoder, n)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.encoder(torch.randint(4, 50, (1, n)), torch.ones(1, n, dtype=torch.long))
    assert counter.get_total_flops() == body.flops
    assert body.params == sum(p.numel() for p in model.encoder.parameters())


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kinds", [{}, {0: "conv", 1: "mean", 2: "none"}], ids=str)
def test_flops_and_weights_of_layers_with_parts_removed(family, kinds):
    model = trim(tiny(family=family), attention=kinds)
    for seed in range(3):
        trimmed = trim(model, random_gates(model, points_of(model), seed)).requires_grad_(False)
        computed = cost(trimmed, 12)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            trimmed(torch.randint(4, 50, (1, 12)), torch.ones(1, 12, dtype=torch.long))
        assert counter.get_total_flops() == computed.flops
        assert computed.params == sum(p.numel() for p in trimmed.parameters())


@pytest.mark.parametrize("removed", ["mean", "none", "conv"])
def test_expected_flops_at_hard_gates_are_the_trimmed_flops_and_have_a_gradient(removed):
    model = tiny()
    gates = torch.tensor([1.0, 0.0, 1.0], requires_grad=True)
    expected = expected_flops(model.config, 12, Gates(attention=gates, removed=removed))
    trimmed = cost(trim(model, attention={1: removed}).encoder, 12)
    assert expected.item() == sum(layer.flops for layer in trimmed.layers)
    expected.backward()
    full, less = cost(model.encoder, 12).layers[1].flops, trimmed.layers[1].flops
    assert gates.grad[1].item() == full - less > 0


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "modernbert"])
def test_expected_costs_at_hard_gates_are_those_of_the_trimmed_model(family):
    model = tiny(family=family)
    for seed in range(3):
        attention = torch.tensor([1.0, 0.0, 1.0])
        points = sorted(set(points_of(model)) - {"values", "query_key"})  # the same draws in every process
        gates = random_gates(model, points, seed, attention=attention)
        gates = gates.replace(heads=torch.tensor([[1.0, 0], [0, 1], [1, 1]]))  # none without any
        layers = cost(trim(model, gates).encoder, 12).layers
        assert expected_flops(model.config, 12, gates).item() == sum(layer.flops for layer in layers)
        assert expected_params(model.config, gates).item() == sum(layer.params for layer in layers)


def test_bert_base_costs_what_is_published():
    counted = cost(load("shape:bert-base").encoder, 128)
    assert sum(layer.flops for layer in counted.layers) == pytest.approx(22.35e9, rel=1e-3)  # TinyBERT prints 22.5B
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert sum(layer.params for layer in counted.layers) == pytest.approx(weights, rel=2e-3)
