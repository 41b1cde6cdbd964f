"""Depth and LayerDrop: which whole layers go, and what is left without them."""

import re

import pytest
import torch
from torch.nn import functional as F

from tests.learning import batches, context, make_method
from tests.models import FAMILY_NAMES, padded_batch, tiny
from trimformer import TrimformerConfig, TrimformerError, TrimformerForSequenceClassification, trim
from trimformer.encoder.model.heads import task_loss
from trimformer.methods.structure.depth import alternate, layer_gates, symmetric
from trimformer.methods.structure.layerdrop import every_other


@pytest.mark.parametrize(
    ("strategy", "keep", "kept"),
    [
        ("top", 2, [0, 1]),
        ("bottom", 2, [4, 5]),
        ("alternate", 4, [0, 1, 2, 4]),
        ("alternate", 3, [0, 2, 4]),
        ("alternate", 2, [0, 4]),
        ("symmetric", 4, [0, 1, 4, 5]),
        ("symmetric", 3, [0, 1, 5]),
        ("symmetric", 1, [0]),
        *((strategy, 6, [0, 1, 2, 3, 4, 5]) for strategy in ("top", "bottom", "alternate", "symmetric")),
    ],
)
def test_strategies(strategy, keep, kept):
    gates = make_method("depth", context(layers=6), keep=keep, strategy=strategy).decide()
    assert gates.layers.nonzero().flatten().tolist() == kept


def test_strategies_of_twelve_layers_are_those_of_the_paper():
    assert alternate(12, 8) == [0, 1, 2, 3, 4, 6, 8, 10]
    assert alternate(12, 6) == [0, 2, 4, 6, 8, 10]
    assert symmetric(12, 8) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert symmetric(12, 6) == [0, 1, 2, 9, 10, 11]
    for keep in range(1, 13):
        assert len(alternate(12, keep)) == len(set(symmetric(12, keep))) == keep


def test_contribution_is_the_cosine_of_the_first_token_text_by_text():
    stage = context(rows=6)
    method = make_method("depth", stage, keep=2, strategy="contribution")
    with torch.no_grad():
        traces = []
        for row in range(6):
            batch = stage.train.batch([row])
            del batch["labels"]
            traces.append(method.model(**batch, output_hidden_states=True).hidden_states)
    expected = [
        sum(F.cosine_similarity(trace[layer][0, 0], trace[layer + 1][0, 0], dim=0).item() for trace in traces) / 6
        for layer in range(3)
    ]
    assert method.similarities() == pytest.approx(expected, abs=1e-5)
    gates = method.decide()
    assert gates.layers.tolist() == [float(value != max(expected)) for value in expected]
    assert method.notes()[0].count(",") == 2


def test_a_layer_that_changes_nothing_contributes_least():
    method = make_method("depth", context(layers=4), keep=3, strategy="contribution")
    before, idle = method.model.encoder.layers[1:3]
    for weight in (before.ffn_norm.bias, idle.ffn_norm.bias, idle.attention_norm.bias):
        torch.nn.init.zeros_(weight)
    for weight in (*idle.attention.output.parameters(), *idle.ffn_out.parameters()):
        torch.nn.init.zeros_(weight)
    gates = method.decide()
    assert gates.layers.tolist() == [1, 1, 0, 1]
    batch = padded_batch(method.model)
    with torch.no_grad():
        same = trim(method.model, gates).eval()(**batch).logits, method.model.eval()(**batch).logits
    torch.testing.assert_close(*same, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kept", [[0], [0, 2], [0, 1, 3]], ids=str)
def test_what_is_left_is_a_model_of_so_many_layers(family, kept):
    model = tiny(4, family=family)
    trimmed = trim(model, layer_gates(4, kept)).eval()
    fields = model.config.to_dict()
    fields["layers"] = [fields["layers"][index] for index in kept]
    fields["sharing"] = fields["sharing"] and [0] * len(kept)
    built = TrimformerForSequenceClassification(TrimformerConfig.from_dict(fields)).eval()
    weights = model.state_dict()

    def source(name):
        return re.sub(r"layers\.(\d+)\.", lambda found: f"layers.{kept[int(found[1])]}.", name)

    built.load_state_dict({name: weights[source(name)] for name in built.state_dict()})
    batch = padded_batch(model)
    with torch.no_grad():
        torch.testing.assert_close(trimmed(**batch).logits, built(**batch).logits, atol=1e-6, rtol=1e-6)
    assert trimmed.num_parameters() == built.num_parameters()


@pytest.mark.parametrize("name", ["depth", "layerdrop"])
def test_more_layers_than_there_are_cannot_stay(name):
    with pytest.raises(TrimformerError, match="keep=4 is out of range: this encoder has 3 layers, so keep 1 to 3"):
        make_method(name, context(), keep=4)


def test_the_first_layer_of_a_pre_norm_encoder_stays():
    stage = context(family="modernbert")
    with pytest.raises(TrimformerError, match="choose another strategy"):
        make_method("depth", stage, keep=2, strategy="bottom")
    method = make_method("depth", stage, keep=1, strategy="contribution")
    method.similarities = lambda: [0.9, 0.1, 0.2]
    assert method.decide().layers.tolist() == [1, 0, 0]
    trim(method.model, method.decide())
    assert make_method("depth", stage, keep=3, strategy="bottom").decide().layers.sum() == 3


def test_depth_trains_nothing():
    method = make_method("depth", context(), keep=2, strategy="contribution")
    before = {name: weight.clone() for name, weight in method.model.state_dict().items()}
    assert repr(method.decide()) == repr(method.decide())
    assert all(torch.equal(weight, before[name]) for name, weight in method.model.state_dict().items())
    assert not method.trains


@pytest.mark.parametrize("one_in", [2, 3, 4, 6])
def test_every_other_layer_goes_as_published(one_in):
    """LayerDrop: where the share 1/k is dropped, the layers whose number, from 1, is divisible by k."""
    kept = [index for index in range(12) if (index + 1) % one_in]
    assert every_other(12, len(kept)) == kept


def seen_by(method):
    seen = []
    method.model.register_forward_pre_hook(
        lambda _, args, inputs: seen.append(inputs["gates"].layers.tolist()), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("skip", [0.0, 0.3])
def test_layers_are_skipped_with_the_probability(skip):
    stage = context(rows=8)
    method = make_method("layerdrop", stage, keep=2, skip=skip)
    seen = seen_by(method)
    batch = {name: value[:1] for name, value in batches(stage, 1)[0].items()}
    for _ in range(200):
        method.micro_step(batch, 1.0)
    share = torch.tensor(seen)
    assert set(share.flatten().tolist()) <= {0.0, 1.0}
    assert share.mean(0).tolist() == pytest.approx([1 - skip] * 3, abs=0.1)


def test_a_step_trains_the_model_without_the_skipped_layers():
    stage = context()
    method = make_method("layerdrop", stage, keep=2, skip=0.5)
    seen, batch = seen_by(method), batches(stage, 1)[0]
    method.model.eval()  # no dropout, so that the losses can be compared
    for _ in range(5):
        loss = method.micro_step(batch, 1.0)["loss"]
        kept = [index for index, gate in enumerate(seen[-1]) if gate]
        for index, layer in enumerate(method.model.encoder.layers):
            assert (layer.ffn_in.weight.grad is not None) == (index in kept)
        method.networks["model"].optimizer.zero_grad(set_to_none=True)
        if kept:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            logits = trim(method.model, layer_gates(3, kept))(**inputs).logits
            assert loss == pytest.approx(task_loss("classification", logits, batch["labels"]).item(), abs=1e-6)
    assert len({tuple(gates) for gates in seen}) > 1
