"""Law: trim(model, gates)(x) == model(x, gates=gates) for heads, units, dimensions and layers, alone and together."""

import pytest
import torch

from tests.models import FAMILY_NAMES, padded_batch, points_of, random_gates, tiny, trained
from trimformer import Gates, TrimformerError, cost, trim


def difference(model, gates):
    batch = padded_batch(model)
    with torch.no_grad():
        expected = model(**batch, gates=gates).logits
        got = trim(model, gates)(**batch).logits
    return ((got - expected).abs().max() / max(1, expected.abs().max())).item()


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
def test_each_point_alone(family, dtype, tolerance):
    model = tiny(family=family, initializer_range=0.15).to(dtype)  # larger weights magnify the rounding of fp32
    for point in points_of(model):
        for seed in range(3):
            gates = random_gates(model, [point], seed)
            assert difference(model, gates) <= tolerance, (point, seed)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kinds", [{}, {0: "conv", 2: "mean"}, {1: "mean", 2: "none"}], ids=str)
def test_all_together_with_attention_kinds(family, kinds):
    model = trained(trim(tiny(family=family).double(), attention=kinds))
    for seed in range(4):
        for removed in ("mean", "none"):
            attention = torch.rand(3, generator=torch.Generator().manual_seed(seed)).round()
            gates = random_gates(model, points_of(model), seed, attention=attention, removed=removed)
            assert difference(model, gates) <= 1e-10, (seed, removed)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_soft_gates_of_what_stays_are_in_the_weights(family):
    model = trained(trim(tiny(family=family).double(), attention={1: "mean", 2: "conv"}))
    points = [point for point in points_of(model) if point != "layers"]
    hard = random_gates(model, points)
    torch.manual_seed(0)
    soft = {}
    for point in points:
        given = getattr(hard, point)
        factor = torch.rand_like(given[0]).double() if isinstance(given, list) else torch.rand_like(given)
        soft[point] = [gate * factor for gate in given] if isinstance(given, list) else given * factor
    assert difference(model, Gates(**soft)) <= 1e-10


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_nothing_left_inside_the_layers(family):
    model = tiny(family=family).double()
    shapes = model.config.shapes
    dead = [torch.zeros(shape.heads) for shape in shapes]
    empty = [torch.zeros(shape.ffn) for shape in shapes]
    gates = Gates(heads=dead, ffn=empty)
    assert difference(model, gates) <= 1e-10
    trimmed = trim(model, gates)
    left = "bias" if model.config.attention_bias else "none"
    assert [(shape.attention, shape.ffn) for shape in trimmed.config.shapes] == [(left, 0)] * 3
    again = Gates(attention=torch.tensor([0.0, 1.0, 0.0]), removed="none")  # what is left can go, too
    assert difference(trimmed, again) <= 1e-10
    assert cost(trimmed, 9).params == sum(p.numel() for p in trimmed.parameters())


def test_a_head_that_keeps_fewer_dimensions_than_another():
    model = tiny().double()
    values = torch.ones(3, 2, 8)
    values[0, 0, 3:] = 0
    query_key = torch.ones(3, 2, 8)
    query_key[0, 1, :7] = 0
    query_key[0, 0, :4] = 0
    query_key[1] = 0
    gates = Gates(values=values, query_key=query_key)
    assert difference(model, gates) <= 1e-10
    shapes = trim(model, gates).config.shapes
    assert (shapes[0].head_size, shapes[0].query_key) == (8, 4)
    assert shapes[1].attention == "mean"  # without queries and keys all scores are equal


def test_a_trimmed_model_can_be_trimmed_again():
    model = tiny(layers=4).double()
    once = trim(model, random_gates(model, points_of(model), 1, keep=0.8))
    assert difference(once, random_gates(once, points_of(once), 2)) <= 1e-10


def test_soft_gates_interpolate_and_have_gradients():
    model = tiny(layers=2).double()
    soft = random_gates(model, points_of(model))
    gates = soft.replace(
        **{
            name: [torch.full_like(gate, 0.5).requires_grad_() for gate in given]
            if isinstance(given, list)
            else torch.full_like(given, 0.5).requires_grad_()
            for name in points_of(model)
            if (given := getattr(soft, name)) is not None
        },
    )
    model(**padded_batch(model), gates=gates).logits.sum().backward()
    for name in points_of(model):
        for gate in getattr(gates, name) if isinstance(getattr(gates, name), list) else [getattr(gates, name)]:
            assert gate.grad is not None, name
            assert gate.grad.abs().sum() > 0, name


def test_gates_of_ones_change_nothing():
    model = tiny().double()
    batch = padded_batch(model)
    gates = random_gates(model, points_of(model), keep=1.1)
    with torch.no_grad():
        torch.testing.assert_close(model(**batch, gates=gates).logits, model(**batch).logits, atol=1e-10, rtol=0)
    assert trim(model, gates).config.shapes == model.config.shapes


@pytest.mark.parametrize(
    ("family", "gates", "match"),
    [
        ("bert", Gates(layers=torch.zeros(3)), "at least one must stay"),
        ("bert", Gates(layers=torch.ones(2)), "layers gates for 2 layers, but the model has 3"),
        ("bert", Gates(hidden=torch.zeros(16)), "at least one must stay"),
        ("bert", Gates(ffn=torch.ones(3, 5)), r"units of layer 0 have shape \(5,\) instead of \(24,\)"),
        ("bert", Gates(layers=torch.full((3,), 0.5)), "must be hard"),
        ("albert", Gates(heads=torch.tensor([[1.0, 1], [1, 0], [1, 1]])), "Layers 0 and 1 share their weights"),
        ("modernbert", Gates(query_key=torch.eye(8)[0].expand(3, 2, 8)), "Layer 0 cannot lose dimensions"),
        ("modernbert", Gates(layers=torch.tensor([0.0, 1, 1])), "first layer of a pre-norm"),
        ("deberta-v2", Gates(hidden=torch.eye(16)[0]), "cannot lose hidden dimensions"),
    ],
)
def test_what_cannot_be_lost_is_said(family, gates, match):
    with pytest.raises(TrimformerError, match=match):
        trim(tiny(family=family), gates)


@pytest.mark.parametrize("kind", ["full", "sparse-star", "mean", "gaussian", "conv"])
def test_a_layer_that_reads_nothing_or_what_the_hidden_dimensions_lose(kind):
    model = tiny(layers=2).double()
    model = model if kind == "full" else trained(trim(model, attention={0: kind, 1: kind}))
    reads, hidden = torch.ones(2, 16), torch.ones(16)
    reads[0], reads[1, ::2] = 0, 0
    hidden[3:7] = 0
    for gates in (Gates(inputs=reads), Gates(inputs=reads, hidden=hidden), Gates(inputs=1 - hidden, hidden=hidden)):
        gates = gates if gates.inputs.ndim == 2 else gates.replace(inputs=[gates.inputs] * 2)  # one for all layers
        assert difference(model, gates) <= 1e-10
    once = trim(model, Gates(inputs=reads, hidden=hidden))
    assert [shape.inputs for shape in once.config.shapes] == ["0", "1,3,5,7,9,11"]
    fewer = torch.ones(12)
    fewer[5] = 0
    again = Gates(inputs=[torch.ones(1), torch.tensor([1.0, 0, 1, 1, 0, 1])], hidden=fewer)
    assert difference(once, again) <= 1e-10
