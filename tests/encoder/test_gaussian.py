"""Fixed attention by distance: its weights, and the laws of this kind in every family."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.learning import batches, context, make_method
from tests.models import DISTINCT_FAMILIES, hard_gates, padded_batch, points_of, random_gates, tiny
from trimformer import Gates, LayerShape, TrimformerConfig, TrimformerError, cost, export, trim
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.parts.attention.gaussian import GaussianAttention
from trimformer.encoder.parts.tokens import Tokens
from trimformer.inference.runtimes.onnx import OnnxSession
from trimformer.measure.cost import expected_flops
from trimformer.recipe.reading import load_recipe, parse

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
KINDS = [{1: "gaussian"}, {0: "gaussian", 1: "gaussian", 2: "gaussian"}, {0: "gaussian", 1: "mean", 2: "none"}]


def layer(*offsets, size=1):
    """A layer whose maps change nothing, so that it gives its heads' means of its input."""
    shape = LayerShape("gaussian", len(offsets), size, 8, own={"offsets": list(offsets)})
    width = shape.width
    config = TrimformerConfig(hidden_size=width, attention_bias=False, layers=[shape.to_dict()])
    made = GaussianAttention(config, shape).double()
    for part in (made.value, made.output):
        torch.nn.init.eye_(part.weight)
    return made.requires_grad_(False)


def test_three_tokens_by_hand():
    x = torch.tensor([[[1.0], [10.0], [100.0]]]).double()
    one, two, three = (math.exp(-distance * distance / 2) for distance in (1, 2, 3))
    before = [
        (one * 1 + two * 10 + three * 100) / (one + two + three),
        (1 * 1 + one * 10 + two * 100) / (1 + one + two),
        (one * 1 + 1 * 10 + one * 100) / (one + 1 + one),
    ]
    torch.testing.assert_close(layer(-1)(x, Tokens(x, None)).flatten().tolist(), before, atol=1e-12, rtol=0)
    itself = [
        (1 * 1 + one * 10 + two * 100) / (1 + one + two),
        (one * 1 + 1 * 10 + one * 100) / (one + 1 + one),
        (two * 1 + one * 10 + 1 * 100) / (two + one + 1),
    ]
    torch.testing.assert_close(layer(0)(x, Tokens(x, None)).flatten().tolist(), itself, atol=1e-12, rtol=0)


@pytest.mark.parametrize("asked", [None, 1, 3])
def test_every_head_gives_the_normalised_gaussian_of_real_tokens(asked):
    torch.manual_seed(0)
    offsets, n = (1, 0, -1), 12
    x = torch.randn(2, n, 6).double()
    mask = torch.ones(2, n, dtype=torch.long)
    mask[1, 7:] = 0
    tokens = Tokens(x, mask)
    found = layer(*offsets, size=2)(x, tokens if asked is None else tokens.ask(asked))
    place = torch.arange(n)
    for head, offset in enumerate(offsets):
        distance = (place - place[:, None] - offset).double()
        weights = torch.exp(-(distance**2) / 2) * (distance.abs() <= 3) * mask[:, None]
        expected = weights / weights.sum(-1, keepdim=True) @ x[:, :, 2 * head : 2 * head + 2]
        real = mask[:, :asked].bool()
        got = found[:, :, 2 * head : 2 * head + 2]
        assert got.shape[1] == (asked or n)
        torch.testing.assert_close(got[real], expected[:, :asked][real], atol=1e-12, rtol=0)


def test_a_row_of_padding_gives_numbers():
    x = torch.randn(1, 12, 2).double()
    mask = (torch.arange(12) < 2).long()[None]
    assert layer(-1, 1)(x, Tokens(x, mask)).isfinite().all()
    assert layer(-1, 1)(x, Tokens(x, mask * 0)).isfinite().all()


def test_shapes():
    model = trim(tiny(), attention={1: "gaussian"})
    shape = model.config.shapes[1]
    assert (shape.attention, shape.own, model.config.format_version) == ("gaussian", {"offsets": [-1, 0]}, 2)
    assert set(model.state_dict()) < set(tiny().state_dict())
    left = trim(model, Gates(heads=[torch.ones(2), torch.tensor([0.0, 1.0]), torch.ones(2)])).config.shapes[1]
    assert (left.heads, left.own) == (1, {"offsets": [0]})
    assert trim(model, attention={1: "mean"}).config.shapes[1] == LayerShape("mean", 2, 8, 24)
    with pytest.raises(TrimformerError, match="does not have the weights to become 'gaussian'"):
        trim(trim(tiny(), attention={1: "mean"}), attention={1: "gaussian"})
    for own in ({}, {"offsets": [0]}, {"offsets": [0, 2]}):
        with pytest.raises(TrimformerError, match="for each of its 2 heads an offset of -1, 0, 1, got"):
            LayerShape("gaussian", 2, 8, 24, own=own)


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
def test_trimmed_equals_gated(family, dtype, tolerance):
    model = tiny(family=family, initializer_range=0.15).to(dtype)
    batch = padded_batch(model)
    for removed in ({0}, {1, 2}, {0, 1, 2}):
        gates = hard_gates("attention", 3, 4, 9, removed, "gaussian")
        trimmed = trim(model, gates)
        kinds = [shape.attention for shape in trimmed.config.shapes]
        assert kinds == ["gaussian" if index in removed else "full" for index in range(3)]
        with torch.no_grad():
            expected = model(**batch, gates=gates).logits
            difference = trimmed(**batch).logits - expected
        assert difference.abs().max() <= tolerance * max(1, expected.abs().max())


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("start", [{}, {0: "gaussian", 2: "mean"}], ids=str)
def test_trimmed_equals_gated_with_everything_else_removed(family, start):
    model = trim(tiny(family=family).double(), attention=start)
    batch = padded_batch(model)
    for seed, removed in enumerate(("gaussian", "mean", "none", "gaussian")):
        attention = torch.rand(3, generator=torch.Generator().manual_seed(seed)).round()
        gates = random_gates(model, points_of(model), seed, attention=attention, removed=removed)
        with torch.no_grad():
            expected = model(**batch, gates=gates).logits
            got = trim(model, gates)(**batch).logits
        assert (got - expected).abs().max() <= 1e-10 * max(1, expected.abs().max())


def test_soft_gates_interpolate_and_have_gradients():
    model = tiny(layers=1).double()
    batch = padded_batch(model)
    gate = torch.tensor([0.25], dtype=torch.double, requires_grad=True)
    model(**batch, gates=Gates(attention=gate, removed="gaussian")).logits.sum().backward()
    assert gate.grad.abs() > 0


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_more_padding_changes_no_answer(family):
    model = trim(tiny(family=family).double(), attention={0: "gaussian", 2: "gaussian"})
    batch = padded_batch(model)
    longer = {
        name: F.pad(value, (0, 5), value=model.config.pad_token_id if name == "input_ids" else 0)
        for name, value in batch.items()
    }
    with torch.no_grad():
        torch.testing.assert_close(model(**longer).logits, model(**batch).logits, atol=1e-10, rtol=0)


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("n", [1, 12])
def test_counted_equals_computed(family, kinds, n):
    model = trim(tiny(family=family), attention=kinds)
    for one in (model, model.encoder, trim(model, random_gates(model, points_of(model), 1))):
        computed = cost(one, n)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            one(torch.randint(4, 50, (1, n)), torch.ones(1, n, dtype=torch.long))
        assert counter.get_total_flops() == computed.flops
        assert computed.params == sum(p.numel() for p in one.parameters())


def test_expected_flops_at_hard_gates_are_those_of_the_trimmed_model():
    model = trim(tiny(), attention={2: "gaussian"})
    heads = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    gates = Gates(attention=torch.tensor([1.0, 0.0, 1.0]), heads=heads, removed="gaussian")
    layers = cost(trim(model, gates).encoder, 12).layers
    assert expected_flops(model.config, 12, gates).item() == sum(one.flops for one in layers)


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_the_exported_form_is_the_same_function(family, kinds):
    model = trim(tiny(family=family).double(), attention=kinds)
    exported = ExportedEncoder(model)
    for batch, n in [(1, 2), (4, 9)]:
        inputs = padded_batch(model, batch, n)
        with torch.no_grad():
            torch.testing.assert_close(exported(**inputs), model(**inputs).logits, atol=1e-8, rtol=0)


@pytest.mark.usefixtures("users_exporter")
@pytest.mark.parametrize(("family", "kinds"), [("bert", KINDS[1]), ("modernbert", KINDS[0])])
def test_the_file_gives_the_same_logits(tmp_path, family, kinds):
    model = trim(tiny(family=family), attention=kinds)
    session = OnnxSession(export(model, tmp_path, precision=["fp32"])[0].path, threads=1)
    for batch, n in [(1, 2), (4, 9), (5, 21)]:
        inputs = padded_batch(model, batch, n)
        with torch.no_grad():
            expected = model(**inputs).logits
        torch.testing.assert_close(torch.from_numpy(session.run(inputs)), expected, atol=1e-4, rtol=0)


def test_methods_and_recipes_can_choose_it():
    method = make_method("last-k", context(), keep_layers=1, replace_by="gaussian")
    model = trim(method.model, method.decide()).eval()
    assert [shape.attention for shape in model.config.shapes] == ["full", "gaussian", "gaussian"]
    batch = batches(context(), 1)[0]
    del batch["labels"]
    with torch.no_grad():
        expected = method.model.eval()(**batch, gates=method.decide()).logits
        torch.testing.assert_close(model(**batch).logits, expected)
    stage = {"name": "search", "method": {"name": "last-k", "keep_layers": 1, "replace_by": "gaussian"}}
    given = {"model": "m", "task": {"name": "sst2"}, "out": "o", "stages": [stage]}
    assert parse(given, "x").stages[0].method.replace_by == "gaussian"
    assert load_recipe(RECIPES / "gaussian.yaml").stages[0].method.replace_by == "gaussian"
